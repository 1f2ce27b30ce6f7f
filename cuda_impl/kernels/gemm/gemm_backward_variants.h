// The variants of gemm_nn() and gemm_tn(): every implementation under its name. All take any shape
// and layout, compute
//   nn  dx [N,K] = dy [N,M] w [M,K]
//   tn  dw [M,K] = dy [N,M]^T x [N,K]
// with factors stored as S and read as F: S itself, or tf32 where S is float. Those of one F differ
// in speed and in the order in which a tensor core adds.
#pragma once

#include <vector>

#include "cuda_impl/kernels/backward.h"
#include "cuda_impl/kernels/gemm/gemm_variants.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// S: any storage type.
template <class S, class F = S, class Out>
void gemm_nn_tiled(View<Out, 2> dx, In<S, 2> dy, In<S, 2> w, bool accumulate, Stream stream,
                   const BackwardLayout& layout = {});
template <class S, class F = S>
void gemm_tn_tiled(View<accum_t<S>, 2> dw, In<S, 2> dy, In<S, 2> x, bool accumulate, Stream stream,
                   const BackwardLayout& layout = {});

// S: bf16 or f16, or float, which is read as tf32.
template <class S, class Out>
void gemm_nn_mma(View<Out, 2> dx, In<S, 2> dy, In<S, 2> w, bool accumulate, Stream stream,
                 const BackwardLayout& layout = {});
template <class S>
void gemm_tn_mma(View<float, 2> dw, In<S, 2> dy, In<S, 2> x, bool accumulate, Stream stream,
                 const BackwardLayout& layout = {});

// Of either gemm: factor is w or x.
template <class S, class Out>
struct GemmBackwardVariant {
  const char* name;
  void (*launch)(View<Out, 2> out, View<const S, 2> dy, View<const S, 2> factor, bool accumulate,
                 Stream stream, const BackwardLayout& layout);
};
template <class S, class Out>
std::vector<GemmBackwardVariant<S, Out>> gemm_nn_variants() {
  std::vector<GemmBackwardVariant<S, Out>> variants{{"gemm_nn_tiled", gemm_nn_tiled<S, S, Out>}};
  if constexpr (kHasMma<S>) variants.push_back({"gemm_nn_mma", gemm_nn_mma<S, Out>});
  return variants;
}
template <class S>
std::vector<GemmBackwardVariant<S, accum_t<S>>> gemm_tn_variants() {
  std::vector<GemmBackwardVariant<S, accum_t<S>>> variants{{"gemm_tn_tiled", gemm_tn_tiled<S>}};
  if constexpr (kHasMma<S>) variants.push_back({"gemm_tn_mma", gemm_tn_mma<S>});
  return variants;
}
inline std::vector<GemmBackwardVariant<float, float>> tf32_gemm_nn_variants() {
  return {{"gemm_nn_tiled_tf32", gemm_nn_tiled<float, simt::tf32, float>},
          {"gemm_nn_mma_tf32", gemm_nn_mma<float, float>}};
}
inline std::vector<GemmBackwardVariant<float, float>> tf32_gemm_tn_variants() {
  return {{"gemm_tn_tiled_tf32", gemm_tn_tiled<float, simt::tf32>},
          {"gemm_tn_mma_tf32", gemm_tn_mma<float>}};
}

// A layout as a kernel parameter: the elements from the arrays of gemm j to those of j + 1, and
// from row to row of the factor.
struct BackwardStrides {
  int64_t out, dy, factor, factor_row;
};
inline BackwardStrides strides_of(const BackwardLayout& layout, int64_t K) {
  return {layout.out, layout.dy, layout.factor, layout.factor_row == 0 ? K : layout.factor_row};
}

// Whether gemm_nn() and gemm_tn() take tensor cores: where the rows of all three arrays are whole
// 16-byte pieces, and a tile is not mostly empty. N and the addresses do not enter, so that the
// bits of a row of dx depend neither on how many rows there are nor on where it lies.
template <class F>
constexpr bool prefers_mma_backward(int64_t M, int64_t K) {
  return prefers_mma<F>(M, K) && prefers_mma<F>(K, M);
}

// What every variant expects of a layout; out has `rows` rows of K elements, blocks are `tile` rows
// high.
inline void check_layout(const char* kernel, const BackwardLayout& layout, int64_t rows, int64_t K,
                         int tile) {
  expect_at_most(kernel, ("rows / " + std::to_string(tile)).c_str(), (rows + tile - 1) / tile,
                 65535);
  expect_at_most(kernel, "count", layout.count, 65535);
  if (layout.count > 1 && layout.out == 0) {
    throw simt::Error(std::string(kernel) + ": out of several gemms: expected a stride, got 0");
  }
  if (layout.factor_row != 0 && layout.factor_row < K) {
    throw simt::Error(std::string(kernel) + ": factor_row: expected 0 or K = " + std::to_string(K) +
                      " at least, got " + std::to_string(layout.factor_row));
  }
}
template <class S, class Out>
void check_gemm_nn(const char* kernel, const View<Out, 2>& dx, const In<S, 2>& dy,
                   const In<S, 2>& w, const BackwardLayout& layout, int tile) {
  const auto [N, K] = dx.shape;
  const int64_t M = dy.shape[1];
  expect_shape(kernel, "dx [N,K]", dx, {N, K});
  expect_shape(kernel, "dy [N,M]", dy, {N, M});
  expect_shape(kernel, "w [M,K]", w, {M, K});
  check_layout(kernel, layout, N, K, tile);
}
template <class S>
void check_gemm_tn(const char* kernel, const View<accum_t<S>, 2>& dw, const In<S, 2>& dy,
                   const In<S, 2>& x, const BackwardLayout& layout, int tile) {
  const auto [M, K] = dw.shape;
  const int64_t N = dy.shape[0];
  expect_shape(kernel, "dw [M,K]", dw, {M, K});
  expect_shape(kernel, "dy [N,M]", dy, {N, M});
  expect_shape(kernel, "x [N,K]", x, {N, K});
  check_layout(kernel, layout, M, K, tile);
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
