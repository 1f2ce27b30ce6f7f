// Backward of softmax_step.cu where its x is scale * m, with p = softmax(x):
//   dm[n,d] = carry dm[n,d] + scale * (dx[n,d] + step p[n,d] (dy[n,d] - sum_e p[n,e] dy[n,e]))
//   dy[n,d] = (1 - step) dy[n,d], the gradient with respect to `before`
//
//   x   [N,D]  stored as S
//   dm  [N,D]  accum_t<S>: in, what is carried on to m; out, the gradient with respect to m
//   dy  [N,D]  accum_t<S>, overwritten as well
//   dx  [N,D]  accum_t<S>, what else depends on x; may be null
// p is formed again in three passes over a row; nothing is rounded to S.
// Launch: one warp per row. Any N, D >= 1.
// Longest addition chain 2 * (ceil(D/32) + 5), and 2.
// CPU counterpart: reference/ops/softmax.cpp (its gradient)
#include "cuda_impl/kernels/mean_field.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kRowsPerBlock = 4;

template <class S>
__global__ void softmax_step_backward_kernel(accum_t<S>* __restrict__ dm,
                                             accum_t<S>* __restrict__ dy,
                                             const accum_t<S>* __restrict__ dx,
                                             const S* __restrict__ x, accum_t<S> step,
                                             accum_t<S> kept, accum_t<S> scale, accum_t<S> carry,
                                             int N, int D) {
  using A = accum_t<S>;
  const int n = static_cast<int>(blockIdx.x * kRowsPerBlock + threadIdx.y);
  const int lane = static_cast<int>(threadIdx.x);
  if (n >= N) return;  // same for the whole warp, so warp_sum stays safe
  const int64_t first = int64_t{n} * D;

  A highest = kLowest<A>;
  for (int d = lane; d < D; d += 32) highest = simt::max(highest, simt::to_accum(x[first + d]));
  highest = simt::warp_max(highest);
  A sum = A(0), along = A(0);
  for (int d = lane; d < D; d += 32) {
    const A weight = simt::exp(simt::to_accum(x[first + d]) - highest);
    sum += weight;
    along += weight * dy[first + d];
  }
  sum = simt::warp_sum(sum);
  const A mean = simt::warp_sum(along) / sum;
  for (int d = lane; d < D; d += 32) {
    const A p = simt::exp(simt::to_accum(x[first + d]) - highest) / sum;
    A slope = step * p * (dy[first + d] - mean);
    if (dx != nullptr) slope += dx[first + d];
    dm[first + d] = carry * dm[first + d] + scale * slope;
    dy[first + d] = kept * dy[first + d];
  }
}

}  // namespace

template <class S>
void softmax_step_backward(View<accum_t<S>, 2> dm, View<accum_t<S>, 2> dy, In<accum_t<S>, 2> dx,
                           In<S, 2> x, double step, double scale, double carry, Stream stream) {
  const auto [N, D] = dm.shape;
  const char* kernel = "softmax_step_backward";
  expect_shape(kernel, "dm [N,D]", dm, {N, D});
  expect_shape(kernel, "dy [N,D]", dy, {N, D});
  expect_shape(kernel, "x [N,D]", x, {N, D});
  if (dx.data != nullptr) expect_shape(kernel, "dx [N,D]", dx, {N, D});
  expect_at_most(kernel, "N", N, INT_MAX - kRowsPerBlock);
  simt::launch(LaunchName(kernel, dm.shape).text, softmax_step_backward_kernel<S>,
               dim3(blocks_for(N, kRowsPerBlock)), dim3(32, kRowsPerBlock), 0, stream, dm.data,
               dy.data, dx.data, x.data, step, 1 - step, scale, carry, N, D);
}

#define ASSAY_INSTANTIATE(S)                                                                  \
  template void softmax_step_backward<S>(View<accum_t<S>, 2>, View<accum_t<S>, 2>,            \
                                         In<accum_t<S>, 2>, In<S, 2>, double, double, double, \
                                         Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
