// A norm's gain and shift folded into the weight that reads it:
//   y[m,k] = w[m,k] * gain[k],  y_bias[m] = sum_k w[m,k] * shift[k] + bias[m]
//
//   w            [M,K]  row-major, stored as S
//   gain, shift  [K]    stored as S; null: 1, 0
//   bias         [M]    stored as S
//   y            [M,K]  stored as S, rows y_row >= K elements apart
//   y_bias       [M]    stored as S, or null: none
// Sums are accum_t<S>; the only rounding to S is the store. Launch: one warp per row, kRowsPerBlock
// rows per block. Any M, K >= 1. Longest addition chain ceil(K/32) + 6.
#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kRowsPerBlock = 4;

template <class S>
__global__ void fold_norm_kernel(S* __restrict__ y, int64_t y_row, S* __restrict__ y_bias,
                                 const S* __restrict__ w, const S* __restrict__ gain,
                                 const S* __restrict__ shift, const S* __restrict__ bias, int M,
                                 int K) {
  using A = accum_t<S>;
  const int row = static_cast<int>(blockIdx.x * kRowsPerBlock + threadIdx.y);
  const int lane = static_cast<int>(threadIdx.x);  // [0, 32)
  if (row >= M) return;  // same for the whole warp, so warp_sum stays safe
  A sum = A(0);
  for (int k = lane; k < K; k += 32) {
    const A value = simt::to_accum(w[int64_t{row} * K + k]);
    y[row * y_row + k] =
        simt::from_accum<S>(gain == nullptr ? value : value * simt::to_accum(gain[k]));
    if (shift != nullptr) sum += value * simt::to_accum(shift[k]);
  }
  const A total = simt::warp_sum(sum);
  if (y_bias != nullptr && lane == 0) {
    y_bias[row] = simt::from_accum<S>(total + simt::to_accum(bias[row]));
  }
}

}  // namespace

template <class S>
void fold_norm(View<S, 2> y, int64_t y_row, View<S, 1> y_bias, In<S, 2> w, In<S, 1> gain,
               In<S, 1> shift, In<S, 1> bias, Stream stream) {
  const auto [M, K] = w.shape;
  expect_shape("fold_norm", "w [M,K]", w, {M, K});
  expect_shape("fold_norm", "y [M,K]", y, {M, K});
  if (gain.data != nullptr) expect_shape("fold_norm", "gain [K]", gain, {K});
  if (shift.data != nullptr) expect_shape("fold_norm", "shift [K]", shift, {K});
  if (y_bias.data != nullptr) {
    expect_shape("fold_norm", "y_bias [M]", y_bias, {M});
    expect_shape("fold_norm", "bias [M]", bias, {M});
  }
  if (y_row < K) {
    throw simt::Error("fold_norm: y_row: expected K = " + std::to_string(K) + " at least, got " +
                      std::to_string(y_row));
  }
  simt::launch(LaunchName("fold_norm", w.shape).text, fold_norm_kernel<S>,
               dim3(blocks_for(M, kRowsPerBlock)), dim3(32, kRowsPerBlock), 0, stream, y.data,
               y_row, y_bias.data, w.data, gain.data, shift.data, bias.data, M, K);
}

#define ASSAY_INSTANTIATE(S)                                                                       \
  template void fold_norm(View<S, 2>, int64_t, View<S, 1>, In<S, 2>, In<S, 1>, In<S, 1>, In<S, 1>, \
                          Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
