// GELU:  y[n,f] = x (1 + erf(x / sqrt(2))) / 2, with x = x[n,f], or with tanh, GPT-2's gelu_new,
//        y[n,f] = x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2
//
//   x  [N,F]  stored as Operand: S, or accum_t<S> where it has no name
//   y  [N,F]  stored as S, the only rounding to it
// Of several layers x is [layers*N,F] and y [N,layers*F], each layer times its weight.
// Launch: one thread per element. Any N, F >= 1.
// Longest addition chain 2.
// CPU counterpart: reference/ops/gelu.cpp
#include "cuda_impl/kernels/pointwise/gelu.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kThreads = 256;

template <class S, class Operand, bool kTanh>
__global__ void gelu_kernel(S* __restrict__ y, const Operand* __restrict__ x, int64_t N, int64_t F,
                            SideBySide<accum_t<S>> layout) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= N * F) return;
  const int64_t layer = blockIdx.y;
  const auto value = static_cast<accum_t<S>>(x[layer * N * F + i]);
  y[layout.place(layer, i, F)] =
      simt::from_accum<S>(gelu_of<accum_t<S>, kTanh>(value) * layout.terms.of(layer));
}

}  // namespace

template <class S, class Operand>
void gelu(View<S, 2> y, In<Operand, 2> x, bool with_tanh, Stream stream,
          const SideBySide<accum_t<S>>& layout) {
  const int64_t N = y.shape[0], F = x.shape[1], rows = layout.layers * N;
  expect_at_most("gelu", "layers", layout.layers, 65535);
  expect_shape("gelu", "y [N,layers*F]", y, {N, layout.layers * F});
  expect_shape("gelu", "x [layers*N,F]", x, {rows, F});
  simt::launch(LaunchName("gelu", y.shape).text,
               with_tanh ? gelu_kernel<S, Operand, true> : gelu_kernel<S, Operand, false>,
               dim3(blocks_for(N * F, kThreads), static_cast<unsigned>(layout.layers)),
               dim3(kThreads), 0, stream, y.data, x.data, N, F, layout);
}

#define ASSAY_INSTANTIATE(S) \
  template void gelu<S, S>(View<S, 2>, In<S, 2>, bool, Stream, const SideBySide<accum_t<S>>&);
#define ASSAY_INSTANTIATE_WIDE(S)                                                \
  template void gelu<S, accum_t<S>>(View<S, 2>, In<accum_t<S>, 2>, bool, Stream, \
                                    const SideBySide<accum_t<S>>&);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
ASSAY_FOR_NARROW_TYPES(ASSAY_INSTANTIATE_WIDE)
#undef ASSAY_INSTANTIATE_WIDE
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
