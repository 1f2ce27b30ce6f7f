// RMSNorm forward:  y[n,d] = z[n,d] * gain[d] / sqrt(mean_d(z[n,d]^2) + eps),  z = x or x + addend
//
//   x, addend, y  [N,D]  row-major, N = B*T, stored as S; addend may be absent (null)
//   gain          [D]    stored as S
//   sum           [N,D]  stored as S: z, which is then rounded to it; or null
// Of several layers at once addend and y have layers*N rows, x serves all, each has a gain.
// Sums are accum_t<S> whatever S is; x + addend is rounded to S only where it is stored as sum, and
// y by its store. Launch: one warp per row, kRowsPerBlock rows per block. Any N, D >= 1. Longest
// addition chain ceil(D/32) + 5, and 1 for x + addend. CPU counterpart: reference/ops/rms_norm.cpp
#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kRowsPerBlock = 4;

template <class S>
SIMT_DEVICE accum_t<S> sum_at(const S* x, const S* addend, int i) {
  return addend == nullptr ? simt::to_accum(x[i])
                           : simt::to_accum(x[i]) + simt::to_accum(addend[i]);
}

template <class S>
__global__ void rms_norm_kernel(S* __restrict__ y, S* __restrict__ sum, const S* __restrict__ x,
                                const S* __restrict__ addend, const S* __restrict__ gain, int N,
                                int D, int x_rows, int64_t layer_stride, accum_t<S> eps) {
  using A = accum_t<S>;
  const int row = static_cast<int>(blockIdx.x * kRowsPerBlock + threadIdx.y);
  const int lane = static_cast<int>(threadIdx.x);  // [0, 32)
  if (row >= N) return;  // same for the whole warp, so warp_sum stays safe
  const int64_t first = int64_t{row} * D;
  const S* x_row = x + int64_t{row % x_rows} * D;
  const S* addend_row = addend == nullptr ? nullptr : addend + first;
  gain += row / x_rows * layer_stride;

  A sum_sq = A(0);
  for (int d = lane; d < D; d += 32) {
    A z = sum_at(x_row, addend_row, d);
    if (sum != nullptr) z = simt::to_accum(sum[first + d] = simt::from_accum<S>(z));
    sum_sq += z * z;
  }
  const A inv_rms = A(1) / simt::sqrt(simt::warp_sum(sum_sq) / A(D) + eps);

  for (int d = lane; d < D; d += 32) {
    const A z = sum == nullptr ? sum_at(x_row, addend_row, d) : simt::to_accum(sum[first + d]);
    y[first + d] = simt::from_accum<S>(z * inv_rms * simt::to_accum(gain[d]));
  }
}

template <class S>
void launch_rms_norm(View<S, 2> y, S* sum, In<S, 2> x, const S* addend, In<S, 1> gain, double eps,
                     Stream stream, int64_t layer_stride) {
  const auto [N, D] = y.shape;
  expect_shape("rms_norm", "y [N,D]", y, {N, D});
  expect_rows_of_layers("rms_norm", x, addend != nullptr, N, D);
  expect_shape("rms_norm", "gain [D]", gain, {D});
  simt::launch(LaunchName("rms_norm", y.shape).text, rms_norm_kernel<S>,
               dim3(blocks_for(N, kRowsPerBlock)), dim3(32, kRowsPerBlock), 0, stream, y.data, sum,
               x.data, addend, gain.data, N, D, x.shape[0], layer_stride, eps);
}

}  // namespace

template <class S>
void rms_norm(View<S, 2> y, In<S, 2> x, In<S, 1> gain, double eps, Stream stream) {
  launch_rms_norm<S>(y, nullptr, x, nullptr, gain, eps, stream, 0);
}

template <class S>
void rms_norm_of_sum(View<S, 2> y, In<S, 2> x, In<S, 2> addend, In<S, 1> gain, double eps,
                     Stream stream, int64_t layer_stride) {
  expect_shape("rms_norm", "addend [N,D]", addend, {y.shape[0], y.shape[1]});
  launch_rms_norm<S>(y, nullptr, x, addend.data, gain, eps, stream, layer_stride);
}

template <class S>
void add_rms_norm(View<S, 2> sum, View<S, 2> y, In<S, 2> x, In<S, 2> addend, In<S, 1> gain,
                  double eps, Stream stream) {
  const auto [N, D] = y.shape;
  expect_shape("add_rms_norm", "sum [N,D]", sum, {N, D});
  expect_shape("add_rms_norm", "x [N,D]", x, {N, D});
  expect_shape("add_rms_norm", "addend [N,D]", addend, {N, D});
  launch_rms_norm<S>(y, sum.data, x, addend.data, gain, eps, stream, 0);
}

#define ASSAY_INSTANTIATE(S)                                                              \
  template void rms_norm(View<S, 2>, In<S, 2>, In<S, 1>, double, Stream);                 \
  template void rms_norm_of_sum(View<S, 2>, In<S, 2>, In<S, 2>, In<S, 1>, double, Stream, \
                                int64_t);                                                 \
  template void add_rms_norm(View<S, 2>, View<S, 2>, In<S, 2>, In<S, 2>, In<S, 1>, double, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
