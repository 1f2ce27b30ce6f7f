// SwiGLU:  act[n,f] = silu(gate[n,f]) * up[n,f],  silu(g) = g / (1 + exp(-g))
//
//   gate, up  [N,F]  stored as Operand: S, or accum_t<S> where they have no name
//   act       [N,F]  stored as S, the only rounding to it
// Launch: one thread per element. Any N, F >= 1.
// Longest addition chain 1.
// CPU counterpart: reference/ops/swiglu.cpp
#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kThreads = 256;

template <class S, class Operand>
__global__ void swiglu_kernel(S* __restrict__ act, const Operand* __restrict__ gate,
                              const Operand* __restrict__ up, int64_t elements) {
  using A = accum_t<S>;
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= elements) return;
  const A g = static_cast<A>(gate[i]);
  const A silu = g / (A(1) + simt::exp(-g));
  act[i] = simt::from_accum<S>(silu * static_cast<A>(up[i]));
}

}  // namespace

template <class S, class Operand>
void swiglu(View<S, 2> act, In<Operand, 2> gate, In<Operand, 2> up, Stream stream) {
  const auto [N, F] = act.shape;
  expect_shape("swiglu", "act [N,F]", act, {N, F});
  expect_shape("swiglu", "gate [N,F]", gate, {N, F});
  expect_shape("swiglu", "up [N,F]", up, {N, F});
  simt::launch(LaunchName("swiglu", act.shape).text, swiglu_kernel<S, Operand>,
               dim3(blocks_for(N * F, kThreads)), dim3(kThreads), 0, stream, act.data, gate.data,
               up.data, N * F);
}

#define ASSAY_INSTANTIATE(S) template void swiglu<S, S>(View<S, 2>, In<S, 2>, In<S, 2>, Stream);
#define ASSAY_INSTANTIATE_WIDE(S) \
  template void swiglu<S, accum_t<S>>(View<S, 2>, In<accum_t<S>, 2>, In<accum_t<S>, 2>, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
ASSAY_FOR_NARROW_TYPES(ASSAY_INSTANTIATE_WIDE)
#undef ASSAY_INSTANTIATE_WIDE
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
