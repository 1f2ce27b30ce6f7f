// Streams of gradients between accumulator and storage type:
//   scaled       y[n,d] = scale * x[n,d]      x accum_t<S>, y stored as S: the only rounding to it
//   accumulate   y[n,d] += scale * x[n,d]     both accum_t<S>
//
// Launch: one thread per element. Any N, D >= 1.
// Longest addition chain 1.
// CPU counterpart: none; the reverse mode of reference/interpreters/gradient.cpp adds gradients up.
#include "cuda_impl/kernels/backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kThreads = 256;

template <class Out, class A, bool kAdd>
__global__ void scaled_kernel(Out* __restrict__ y, const A* __restrict__ x, A scale,
                              int64_t elements) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= elements) return;
  if constexpr (kAdd) {
    y[i] += scale * x[i];
  } else {
    y[i] = simt::from_accum<Out>(scale * x[i]);
  }
}

template <class A, bool kAdd, class Out>
void launch_scaled(const char* kernel, View<Out, 2> y, In<A, 2> x, double scale, Stream stream) {
  const auto [N, D] = y.shape;
  expect_shape(kernel, "y [N,D]", y, {N, D});
  expect_shape(kernel, "x [N,D]", x, {N, D});
  simt::launch(LaunchName(kernel, y.shape).text, scaled_kernel<Out, A, kAdd>,
               dim3(blocks_for(N * D, kThreads)), dim3(kThreads), 0, stream, y.data, x.data, scale,
               N * D);
}

}  // namespace

template <class S>
void scaled(View<S, 2> y, In<accum_t<S>, 2> x, double scale, Stream stream) {
  launch_scaled<accum_t<S>, false>("scaled", y, x, scale, stream);
}

template <class A>
void accumulate(View<A, 2> y, In<A, 2> x, double scale, Stream stream) {
  launch_scaled<A, true>("accumulate", y, x, scale, stream);
}

#define ASSAY_INSTANTIATE(S) template void scaled(View<S, 2>, In<accum_t<S>, 2>, double, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE
#define ASSAY_INSTANTIATE(A) template void accumulate(View<A, 2>, In<A, 2>, double, Stream);
ASSAY_FOR_ACCUMULATORS(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
