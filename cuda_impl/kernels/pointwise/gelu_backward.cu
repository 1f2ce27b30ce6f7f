// GELU backward:  dx[n,f] = dy[n,f] * slope(x[n,f])
//   exact  y = x (1 + erf(x / sqrt(2))) / 2     slope = (1 + erf(x / sqrt(2))) / 2
//                                                       + x exp(-x^2 / 2) / sqrt(2 pi)
//   tanh   y = x (1 + tanh(w)) / 2              slope = (1 + tanh(w)) / 2
//                                                       + x (1 - tanh(w)^2) w' / 2
//          w = k (x + 0.044715 x^3), w' = k (1 + 3 * 0.044715 x^2), k = sqrt(2 / pi)
//
//   x       [N,F]  stored as Operand: S, or accum_t<S> where it has no name
//   dy, dx  [N,F]  stored as S, the only rounding to it; dx may be dy
// Launch: one thread per element. Any N, F >= 1.
// Longest addition chain 1.
// CPU counterpart: reference/ops/gelu.cpp
#include "cuda_impl/kernels/backward.h"
#include "cuda_impl/kernels/pointwise/gelu.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kThreads = 256;
template <class S, class Operand, bool kTanh>
__global__ void gelu_backward_kernel(S* dx, const S* dy, const Operand* __restrict__ x,
                                     int64_t elements) {
  using A = accum_t<S>;
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= elements) return;
  dx[i] = simt::from_accum<S>(simt::to_accum(dy[i]) * gelu_slope<A, kTanh>(static_cast<A>(x[i])));
}

}  // namespace

template <class S, class Operand>
void gelu_backward(View<S, 2> dx, In<S, 2> dy, In<Operand, 2> x, bool tanh_form, Stream stream) {
  const auto [N, F] = dx.shape;
  expect_shape("gelu_backward", "dx [N,F]", dx, {N, F});
  expect_shape("gelu_backward", "dy [N,F]", dy, {N, F});
  expect_shape("gelu_backward", "x [N,F]", x, {N, F});
  simt::launch(
      LaunchName("gelu_backward", dx.shape).text,
      tanh_form ? gelu_backward_kernel<S, Operand, true> : gelu_backward_kernel<S, Operand, false>,
      dim3(blocks_for(N * F, kThreads)), dim3(kThreads), 0, stream, dx.data, dy.data, x.data,
      N * F);
}

#define ASSAY_INSTANTIATE(S, Operand) \
  template void gelu_backward<S, Operand>(View<S, 2>, In<S, 2>, In<Operand, 2>, bool, Stream);
ASSAY_INSTANTIATE(float, float)
ASSAY_INSTANTIATE(simt::bf16, simt::bf16)
ASSAY_INSTANTIATE(simt::bf16, float)
ASSAY_INSTANTIATE(simt::f16, simt::f16)
ASSAY_INSTANTIATE(simt::f16, float)
ASSAY_INSTANTIATE(double, double)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
