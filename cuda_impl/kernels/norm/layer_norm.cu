// LayerNorm:  y[n,d] = gain[d] * (z[n,d] - mean_d(z[n])) / sqrt(var_d(z[n]) + eps) + bias[d]
//             z = x, or x + addend;  var = mean_d((z - mean)^2)
//
//   x, addend, y  [N,D]  row-major, stored as S; addend may be null
//   gain, bias    [D]    stored as S
//   sum           [N,D]  stored as S: z, which is then rounded to it; or null
// Of several layers at once addend and y have layers*N rows, x serves all, each has a gain and a
// bias.
// Mean and variance are two passes in accum_t<S>, the second around the mean: no difference of
// large numbers. x + addend is rounded to S only where it is stored as sum, and y by its store.
// Launch: one warp per row, kRowsPerBlock rows per block. Any N, D >= 1.
// Longest addition chain ceil(D/32) + 5, twice.
// CPU counterpart: reference/ops/layer_norm.cpp
#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kRowsPerBlock = 4;

template <class S>
__global__ void layer_norm_kernel(S* __restrict__ y, S* __restrict__ sum, const S* __restrict__ x,
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
  const auto formed = [&](int d) {
    const A value = simt::to_accum(x_row[d]);
    return addend == nullptr ? value : value + simt::to_accum(addend[first + d]);
  };
  for (int d = lane; sum != nullptr && d < D; d += 32) {
    sum[first + d] = simt::from_accum<S>(formed(d));
  }
  const auto z = [&](int d) { return sum == nullptr ? formed(d) : simt::to_accum(sum[first + d]); };

  A total = A(0);
  for (int d = lane; d < D; d += 32) total += z(d);
  const A mean = simt::warp_sum(total) / A(D);
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

template <class S>
void launch_layer_norm(View<S, 2> y, S* sum, In<S, 2> x, In<S, 2> addend, In<S, 1> gain,
                       In<S, 1> bias, double eps, Stream stream, int64_t layer_stride) {
  const auto [N, D] = y.shape;
  expect_shape("layer_norm", "y [N,D]", y, {N, D});
  expect_rows_of_layers("layer_norm", x, addend.data != nullptr, N, D);
  if (addend.data != nullptr) expect_shape("layer_norm", "addend [N,D]", addend, {N, D});
  expect_shape("layer_norm", "gain [D]", gain, {D});
  expect_shape("layer_norm", "bias [D]", bias, {D});
  simt::launch(LaunchName("layer_norm", y.shape).text, layer_norm_kernel<S>,
               dim3(blocks_for(N, kRowsPerBlock)), dim3(32, kRowsPerBlock), 0, stream, y.data, sum,
               x.data, addend.data, gain.data, bias.data, N, D, x.shape[0], layer_stride, eps);
}

}  // namespace

template <class S>
void layer_norm(View<S, 2> y, In<S, 2> x, In<S, 2> addend, In<S, 1> gain, In<S, 1> bias, double eps,
                Stream stream, int64_t layer_stride) {
  launch_layer_norm<S>(y, nullptr, x, addend, gain, bias, eps, stream, layer_stride);
}

template <class S>
void add_layer_norm(View<S, 2> sum, View<S, 2> y, In<S, 2> x, In<S, 2> addend, In<S, 1> gain,
                    In<S, 1> bias, double eps, Stream stream) {
  const auto [N, D] = y.shape;
  expect_shape("add_layer_norm", "sum [N,D]", sum, {N, D});
  expect_shape("add_layer_norm", "x [N,D]", x, {N, D});
  expect_shape("add_layer_norm", "addend [N,D]", addend, {N, D});
  launch_layer_norm<S>(y, sum.data, x, addend, gain, bias, eps, stream, 0);
}

#define ASSAY_INSTANTIATE(S)                                                                   \
  template void layer_norm(View<S, 2>, In<S, 2>, In<S, 2>, In<S, 1>, In<S, 1>, double, Stream, \
                           int64_t);                                                           \
  template void add_layer_norm(View<S, 2>, View<S, 2>, In<S, 2>, In<S, 2>, In<S, 1>, In<S, 1>, \
                               double, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
