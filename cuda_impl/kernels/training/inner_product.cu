// Inner product of two streams:  out += sum_{n,d} x[n,d] * y[n,d]
//
//   x      [N,D]  accum_t<S>: a gradient
//   y      [N,D]  stored as S
//   parts  [N]    accum_t<S>, scratch: one sum per row
//   out    [1]    accum_t<S>
// Launch: one warp per row, then one warp for the rows: no atomics, the same bits every time.
// Longest addition chain ceil(D/32) + 5 for a row, ceil(N/32) + 6 for the rows.
// CPU counterpart: the gradient rule with respect to a weight of reference/ops/weighted_sum.cpp
#include "cuda_impl/kernels/backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kRowsPerBlock = 4;

template <class S>
__global__ void row_products_kernel(accum_t<S>* __restrict__ parts,
                                    const accum_t<S>* __restrict__ x, const S* __restrict__ y,
                                    int N, int D) {
  const int row = static_cast<int>(blockIdx.x * kRowsPerBlock + threadIdx.y);
  const int lane = static_cast<int>(threadIdx.x);
  if (row >= N) return;  // same for the whole warp
  const int64_t first = int64_t{row} * D;
  accum_t<S> sum = accum_t<S>(0);
  for (int d = lane; d < D; d += 32) sum += x[first + d] * simt::to_accum(y[first + d]);
  sum = simt::warp_sum(sum);
  if (lane == 0) parts[row] = sum;
}

template <class A>
__global__ void sum_rows_kernel(A* __restrict__ out, const A* __restrict__ parts, int N) {
  const int lane = static_cast<int>(threadIdx.x);
  A sum = A(0);
  for (int n = lane; n < N; n += 32) sum += parts[n];
  sum = simt::warp_sum(sum);
  if (lane == 0) out[0] += sum;
}

}  // namespace

template <class S>
void inner_product(View<accum_t<S>, 1> out, View<accum_t<S>, 1> parts, In<accum_t<S>, 2> x,
                   In<S, 2> y, Stream stream) {
  const auto [N, D] = y.shape;
  expect_shape("inner_product", "y [N,D]", y, {N, D});
  expect_shape("inner_product", "x [N,D]", x, {N, D});
  expect_shape("inner_product", "parts [N]", parts, {N});
  expect_shape("inner_product", "out [1]", out, {1});
  simt::launch(LaunchName("inner_product rows", y.shape).text, row_products_kernel<S>,
               dim3(blocks_for(N, kRowsPerBlock)), dim3(32, kRowsPerBlock), 0, stream, parts.data,
               x.data, y.data, N, D);
  simt::launch(LaunchName("inner_product sum", parts.shape).text, sum_rows_kernel<accum_t<S>>,
               dim3(1), dim3(32), 0, stream, out.data, parts.data, N);
}

#define ASSAY_INSTANTIATE(S)                                                                  \
  template void inner_product<S>(View<accum_t<S>, 1>, View<accum_t<S>, 1>, In<accum_t<S>, 2>, \
                                 In<S, 2>, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
