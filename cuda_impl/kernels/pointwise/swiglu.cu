// SwiGLU:  act[n,f] = silu(gate[n,f]) * up[n,f],  silu(g) = g / (1 + exp(-g))
//
//   gate, up  [N,F]  stored as Operand: S, or accum_t<S> where they have no name
//   act       [N,F]  stored as S, the only rounding to it
// Of several layers gate and up are [layers*N,F] and act [N,layers*F], each layer times its weight.
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
                              const Operand* __restrict__ up, int64_t N, int64_t F,
                              SideBySide<accum_t<S>> layout) {
  using A = accum_t<S>;
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= N * F) return;
  const int64_t layer = blockIdx.y, from = layer * N * F + i;
  const A g = static_cast<A>(gate[from]);
  const A silu = g / (A(1) + simt::exp(-g));
  act[layout.place(layer, i, F)] =
      simt::from_accum<S>(silu * static_cast<A>(up[from]) * layout.terms.of(layer));
}

}  // namespace

template <class S, class Operand>
void swiglu(View<S, 2> act, In<Operand, 2> gate, In<Operand, 2> up, Stream stream,
            const SideBySide<accum_t<S>>& layout) {
  const int64_t N = act.shape[0], F = gate.shape[1], rows = layout.layers * N;
  expect_at_most("swiglu", "layers", layout.layers, 65535);
  expect_shape("swiglu", "act [N,layers*F]", act, {N, layout.layers * F});
  expect_shape("swiglu", "gate [layers*N,F]", gate, {rows, F});
  expect_shape("swiglu", "up [layers*N,F]", up, {rows, F});
  simt::launch(LaunchName("swiglu", act.shape).text, swiglu_kernel<S, Operand>,
               dim3(blocks_for(N * F, kThreads), static_cast<unsigned>(layout.layers)),
               dim3(kThreads), 0, stream, act.data, gate.data, up.data, N, F, layout);
}

#define ASSAY_INSTANTIATE(S) \
  template void swiglu<S, S>(View<S, 2>, In<S, 2>, In<S, 2>, Stream, const SideBySide<accum_t<S>>&);
#define ASSAY_INSTANTIATE_WIDE(S)                                                               \
  template void swiglu<S, accum_t<S>>(View<S, 2>, In<accum_t<S>, 2>, In<accum_t<S>, 2>, Stream, \
                                      const SideBySide<accum_t<S>>&);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
ASSAY_FOR_NARROW_TYPES(ASSAY_INSTANTIATE_WIDE)
#undef ASSAY_INSTANTIATE_WIDE
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
