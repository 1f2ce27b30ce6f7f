// LayerNorm:  y[n,d] = gain[d] * (z[n,d] - mean_d(z[n])) / sqrt(var_d(z[n]) + eps) + bias[d]
//             z = x, or x + addend;  var = mean_d((z - mean)^2)
//
//   x, addend, y  [N,D]  row-major, stored as S; addend may be null
//   gain, bias    [D]    stored as S
// Of several layers at once addend and y have layers*N rows, x serves all, each has a gain and a bias.
// Mean and variance are two passes in accum_t<S>, the second around the mean: no difference of large
// numbers. x + addend is never rounded to S, the only rounding is the store.
// Launch: one warp per row, kRowsPerBlock rows per block. Any N, D >= 1.
// Longest addition chain ceil(D/32) + 5, twice.
// CPU counterpart: reference/ops/layer_norm.cpp
#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kRowsPerBlock = 4;

template <class S>
__global__ void layer_norm_kernel(S* __restrict__ y, const S* __restrict__ x,
                                  const S* __restrict__ addend, const S* __restrict__ gain,
                                  const S* __restrict__ bias, int N, int D, int x_rows,
                                  int64_t layer_stride, accum_t<S> eps) {
  using A = accum_t<S>;
  const int row = static_cast<int>(blockIdx.x * kRowsPerBlock + threadIdx.y);
  const int lane = static_cast<int>(threadIdx.x);  // [0, 32)
  if (row >= N) return;  // same for the whole warp, so warp_sum stays safe
  const int64_t first = int64_t{row} * D;
  const S* x_row = x + int64_t{row % x_rows} * D;
  gain += row / x_rows * layer_stride;
  bias += row / x_rows * layer_stride;
  const auto z = [&](int d) {
    const A value = simt::to_accum(x_row[d]);
    return addend == nullptr ? value : value + simt::to_accum(addend[first + d]);
  };

  A sum = A(0);
  for (int d = lane; d < D; d += 32) sum += z(d);
  const A mean = simt::warp_sum(sum) / A(D);
  A sum_sq = A(0);
  for (int d = lane; d < D; d += 32) {
    const A centred = z(d) - mean;
    sum_sq += centred * centred;
  }
  const A inv_deviation = A(1) / simt::sqrt(simt::warp_sum(sum_sq) / A(D) + eps);

  for (int d = lane; d < D; d += 32) {
    const A normal = (z(d) - mean) * inv_deviation;
    y[first + d] = simt::from_accum<S>(normal * simt::to_accum(gain[d]) + simt::to_accum(bias[d]));
  }
}

}  // namespace

template <class S>
void layer_norm(View<S, 2> y, In<S, 2> x, In<S, 2> addend, In<S, 1> gain, In<S, 1> bias, double eps,
                Stream stream, int64_t layer_stride) {
  const auto [N, D] = y.shape;
  expect_shape("layer_norm", "y [N,D]", y, {N, D});
  expect_rows_of_layers("layer_norm", x, addend.data != nullptr, N, D);
  if (addend.data != nullptr) expect_shape("layer_norm", "addend [N,D]", addend, {N, D});
  expect_shape("layer_norm", "gain [D]", gain, {D});
  expect_shape("layer_norm", "bias [D]", bias, {D});
  simt::launch(LaunchName("layer_norm", y.shape).text, layer_norm_kernel<S>,
               dim3(blocks_for(N, kRowsPerBlock)), dim3(32, kRowsPerBlock), 0, stream, y.data,
               x.data, addend.data, gain.data, bias.data, N, D, x.shape[0], layer_stride, eps);
}

#define ASSAY_INSTANTIATE(S)                                                                   \
  template void layer_norm(View<S, 2>, In<S, 2>, In<S, 2>, In<S, 1>, In<S, 1>, double, Stream, \
                           int64_t);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
