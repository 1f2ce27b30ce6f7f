// The rungs of product(): every implementation under its name. All take any shape and compute
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
void product_tiled(View<Out, 2> y, In<S, 2> x, In<S, 2> w, In<S, 1> bias, Stream stream);

// S: bf16 or f16, or float, which is read as tf32.
template <class S, class Out>
void product_mma(View<Out, 2> y, In<S, 2> x, In<S, 2> w, In<S, 1> bias, Stream stream);

template <class F>
inline constexpr bool kHasMma =
    std::is_same_v<F, simt::bf16> || std::is_same_v<F, simt::f16> || std::is_same_v<F, simt::tf32>;

template <class S, class Out>
struct ProductRung {
  const char* name;
  void (*launch)(View<Out, 2> y, View<const S, 2> x, View<const S, 2> w, View<const S, 1> bias,
                 Stream stream);
};
template <class S, class Out>
std::vector<ProductRung<S, Out>> product_rungs() {
  std::vector<ProductRung<S, Out>> rungs{{"product_tiled", product_tiled<S, S, Out>}};
  if constexpr (kHasMma<S>) rungs.push_back({"product_mma", product_mma<S, Out>});
  return rungs;
}
inline std::vector<ProductRung<float, float>> tf32_product_rungs() {
  return {{"product_tiled_tf32", product_tiled<float, simt::tf32, float>},
          {"product_mma_tf32", product_mma<float, float>}};
}

// Whether product() takes product_mma: where a row is whole 16-byte pieces, and a tile is not mostly
// empty. N and the addresses do not enter, so that a row's bits depend neither on how many rows
// there are nor on where it lies.
template <class F>
constexpr bool prefers_mma(int64_t M, int64_t K) {
  return kHasMma<F> && K % int64_t{16 / sizeof(F)} == 0 && K >= 64 && M >= 64;
}

// What every rung expects; its blocks are `tile` rows high.
template <class S, class Out>
void check_product(const char* kernel, const View<Out, 2>& y, const In<S, 2>& x, const In<S, 2>& w,
                   const In<S, 1>& bias, int tile) {
  const auto [N, M] = y.shape;
  const int64_t K = x.shape[1];
  expect_shape(kernel, "y [N,M]", y, {N, M});
  expect_shape(kernel, "x [N,K]", x, {N, K});
  expect_shape(kernel, "w [M,K]", w, {M, K});
  if (bias.data != nullptr) expect_shape(kernel, "bias [M]", bias, {M});
  expect_at_most(kernel, ("N / " + std::to_string(tile)).c_str(), (N + tile - 1) / tile, 65535);
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
