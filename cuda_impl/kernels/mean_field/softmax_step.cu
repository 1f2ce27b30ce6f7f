// A step towards a softmax:  y[n,d] = (1 - step) before[n,d] + step softmax(x[n])[d]
//
//   x, before, y  [N,D]  stored as S; before may be null: step is 1 then
// Launch: one warp per row. Any N, D >= 1.
// Sums are accum_t<S> whatever S is; the only rounding to S is the final store.
// Longest addition chain ceil(D/32) + 5, and 1.
// CPU counterpart: reference/ops/softmax.cpp, reference/prob_transformer/prob_transformer.cpp (5)
#include "cuda_impl/kernels/mean_field.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kRowsPerBlock = 4;

template <class S>
__global__ void softmax_step_kernel(S* __restrict__ y, const S* __restrict__ before,
                                    const S* __restrict__ x, accum_t<S> step, accum_t<S> kept,
                                    int N, int D) {
  using A = accum_t<S>;
  const int n = static_cast<int>(blockIdx.x * kRowsPerBlock + threadIdx.y);
  const int lane = static_cast<int>(threadIdx.x);
  if (n >= N) return;  // same for the whole warp, so warp_sum stays safe
  const int64_t first = int64_t{n} * D;

  A highest = kLowest<A>;
  for (int d = lane; d < D; d += 32) highest = simt::max(highest, simt::to_accum(x[first + d]));
  highest = simt::warp_max(highest);
  A sum = A(0);
  for (int d = lane; d < D; d += 32) sum += simt::exp(simt::to_accum(x[first + d]) - highest);
  sum = simt::warp_sum(sum);
  for (int d = lane; d < D; d += 32) {
    A value = simt::exp(simt::to_accum(x[first + d]) - highest) / sum;
    if (before != nullptr) value = kept * simt::to_accum(before[first + d]) + step * value;
    y[first + d] = simt::from_accum<S>(value);
  }
}

}  // namespace

template <class S>
void softmax_step(View<S, 2> y, In<S, 2> before, In<S, 2> x, double step, Stream stream) {
  const auto [N, D] = y.shape;
  expect_shape("softmax_step", "y [N,D]", y, {N, D});
  expect_shape("softmax_step", "x [N,D]", x, {N, D});
  if (step != 1) expect_shape("softmax_step", "before [N,D]", before, {N, D});
  expect_at_most("softmax_step", "N", N, INT_MAX - kRowsPerBlock);
  simt::launch(LaunchName("softmax_step", y.shape).text, softmax_step_kernel<S>,
               dim3(blocks_for(N, kRowsPerBlock)), dim3(32, kRowsPerBlock), 0, stream, y.data,
               step == 1 ? nullptr : before.data, x.data, step, 1 - step, N, D);
}

#define ASSAY_INSTANTIATE(S) \
  template void softmax_step<S>(View<S, 2>, In<S, 2>, In<S, 2>, double, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
