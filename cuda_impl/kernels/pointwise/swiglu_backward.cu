// SwiGLU backward. With s = 1 / (1 + exp(-gate)), so that act = gate * s * up:
//   dup[n,f]   = dact[n,f] * gate[n,f] * s
//   dgate[n,f] = dact[n,f] * up[n,f] * s * (1 + gate[n,f] * (1 - s))
//
//   gate, up          [N,F]  stored as Operand: S, or accum_t<S> where they have no name
//   dact, dgate, dup  [N,F]  stored as S, the only rounding to it; dgate or dup may be dact
// Launch: one thread per element. Any N, F >= 1.
// Longest addition chain 1.
// CPU counterpart: reference/ops/swiglu.cpp
#include "cuda_impl/kernels/backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kThreads = 256;

template <class S, class Operand>
__global__ void swiglu_backward_kernel(S* dgate, S* dup, const S* dact,
                                       const Operand* __restrict__ gate,
                                       const Operand* __restrict__ up, int64_t elements) {
  using A = accum_t<S>;
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= elements) return;
  const A g = static_cast<A>(gate[i]), u = static_cast<A>(up[i]), grad = simt::to_accum(dact[i]);
  const A s = A(1) / (A(1) + simt::exp(-g));
  dup[i] = simt::from_accum<S>(grad * g * s);
  dgate[i] = simt::from_accum<S>(grad * u * s * (A(1) + g * (A(1) - s)));
}

}  // namespace

template <class S, class Operand>
void swiglu_backward(View<S, 2> dgate, View<S, 2> dup, In<S, 2> dact, In<Operand, 2> gate,
                     In<Operand, 2> up, Stream stream) {
  const auto [N, F] = dgate.shape;
  expect_shape("swiglu_backward", "dgate [N,F]", dgate, {N, F});
  expect_shape("swiglu_backward", "dup [N,F]", dup, {N, F});
  expect_shape("swiglu_backward", "dact [N,F]", dact, {N, F});
  expect_shape("swiglu_backward", "gate [N,F]", gate, {N, F});
  expect_shape("swiglu_backward", "up [N,F]", up, {N, F});
  simt::launch(LaunchName("swiglu_backward", dgate.shape).text, swiglu_backward_kernel<S, Operand>,
               dim3(blocks_for(N * F, kThreads)), dim3(kThreads), 0, stream, dgate.data, dup.data,
               dact.data, gate.data, up.data, N * F);
}

#define ASSAY_INSTANTIATE(S, Operand)                                                         \
  template void swiglu_backward<S, Operand>(View<S, 2>, View<S, 2>, In<S, 2>, In<Operand, 2>, \
                                            In<Operand, 2>, Stream);
ASSAY_INSTANTIATE(float, float)
ASSAY_INSTANTIATE(simt::bf16, simt::bf16)
ASSAY_INSTANTIATE(simt::bf16, float)
ASSAY_INSTANTIATE(simt::f16, simt::f16)
ASSAY_INSTANTIATE(simt::f16, float)
ASSAY_INSTANTIATE(double, double)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
