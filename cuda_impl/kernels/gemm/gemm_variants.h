// The variants of gemm(): every implementation under its name. All take any shape and layout,
// compute
//   y [N,M] = x [N,K] w [M,K]^T + bias [M] (data may be null)
// with factors stored as S and read as F: S itself, or tf32 where S is float. Those of one F differ
// in speed and in the order in which a tensor core adds.
#pragma once

#include <vector>

#include "cuda_impl/kernels/kernels.h"
#include "cuda_impl/simt/tf32.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// An S as F, in accum_t<S>.
template <class F, class S>
SIMT_HD accum_t<S> read_as(S value) {
  if constexpr (std::is_same_v<F, simt::tf32>) {
    return static_cast<float>(simt::tf32(value));
  } else {
    return simt::to_accum(value);
  }
}

// S: any storage type.
template <class S, class F = S, class Out>
void gemm_tiled(View<Out, 2> y, In<S, 2> x, In<S, 2> w, In<S, 1> bias, Stream stream,
                const GemmLayout& layout = {});

// S: bf16 or f16, or float, which is read as tf32.
template <class S, class Out>
void gemm_mma(View<Out, 2> y, In<S, 2> x, In<S, 2> w, In<S, 1> bias, Stream stream,
              const GemmLayout& layout = {});

template <class F>
inline constexpr bool kHasMma =
    std::is_same_v<F, simt::bf16> || std::is_same_v<F, simt::f16> || std::is_same_v<F, simt::tf32>;

template <class S, class Out>
struct GemmVariant {
  const char* name;
  void (*launch)(View<Out, 2> y, View<const S, 2> x, View<const S, 2> w, View<const S, 1> bias,
                 Stream stream, const GemmLayout& layout);
};
template <class S, class Out>
std::vector<GemmVariant<S, Out>> gemm_variants() {
  std::vector<GemmVariant<S, Out>> variants{{"gemm_tiled", gemm_tiled<S, S, Out>}};
  if constexpr (kHasMma<S>) variants.push_back({"gemm_mma", gemm_mma<S, Out>});
  return variants;
}
inline std::vector<GemmVariant<float, float>> tf32_gemm_variants() {
  return {{"gemm_tiled_tf32", gemm_tiled<float, simt::tf32, float>},
          {"gemm_mma_tf32", gemm_mma<float, float>}};
}

// A layout as a kernel parameter: the elements from the arrays of gemm j to those of j + 1, and
// from row to row of w.
struct GemmStrides {
  int64_t y, x, w, bias, w_row;
};
inline GemmStrides strides_of(const GemmLayout& layout, int64_t K) {
  return {layout.y, layout.x, layout.w, layout.bias, layout.w_row == 0 ? K : layout.w_row};
}

// Whether gemm() takes gemm_mma: where a row is whole 16-byte pieces, and a tile is not mostly
// empty. N and the addresses do not enter, so that a row's bits depend neither on how many rows
// there are nor on where it lies.
template <class F>
constexpr bool prefers_mma(int64_t M, int64_t K) {
  return kHasMma<F> && K % int64_t{16 / sizeof(F)} == 0 && K >= 64 && M >= 64;
}

// What every variant expects; its blocks are `tile` rows high.
template <class S, class Out>
void check_gemm(const char* kernel, const View<Out, 2>& y, const In<S, 2>& x, const In<S, 2>& w,
                const In<S, 1>& bias, const GemmLayout& layout, int tile) {
  const auto [N, M] = y.shape;
  const int64_t K = x.shape[1];
  expect_shape(kernel, "y [N,M]", y, {N, M});
  expect_shape(kernel, "x [N,K]", x, {N, K});
  expect_shape(kernel, "w [M,K]", w, {M, K});
  if (bias.data != nullptr) expect_shape(kernel, "bias [M]", bias, {M});
  expect_at_most(kernel, ("N / " + std::to_string(tile)).c_str(), (N + tile - 1) / tile, 65535);
  expect_at_most(kernel, "count", layout.count, 65535);
  if (layout.count > 1 && layout.y == 0) {
    throw simt::Error(std::string(kernel) + ": y of several gemms: expected a stride, got 0");
  }
  if (layout.w_row != 0 && layout.w_row < K) {
    throw simt::Error(std::string(kernel) + ": w_row: expected 0 or K = " + std::to_string(K) +
                      " at least, got " + std::to_string(layout.w_row));
  }
  if (layout.accumulate && !std::is_same_v<Out, accum_t<S>>) {
    throw simt::Error(std::string(kernel) + ": accumulate: expected y in the accumulator's type");
  }
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
