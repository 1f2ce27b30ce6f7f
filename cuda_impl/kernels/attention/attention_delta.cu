// What attention_backward.cu subtracts from every dP of a row:
//   delta[b,h,t] = sum_d dcontext[b,t,h*Dh+d] * context[b,t,h*Dh+d]  = sum_s P[t,s] dP[t,s]
//
//   context, dcontext  [B,T,H*Dh]  stored as S
//   delta              [B,H,T]     accum_t<S>; nothing is rounded to S
// Launch: one warp per (b,t,h). Any B, T, H, Dh >= 1. No scratch memory.
// Longest addition chain ceil(Dh/32) + 5.
// CPU counterpart: reference/ops/softmax.cpp (its gradient)
#include "cuda_impl/kernels/backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kHeadsPerBlock = 4;

template <class S>
__global__ void delta_kernel(accum_t<S>* __restrict__ delta, const S* __restrict__ context,
                             const S* __restrict__ dcontext, int64_t heads, int H, int T, int Dh) {
  using A = accum_t<S>;
  const int64_t head = int64_t{blockIdx.x} * kHeadsPerBlock + threadIdx.y;  // (b*T + t)*H + h
  const int lane = static_cast<int>(threadIdx.x);
  if (head >= heads) return;  // same for the whole warp, so warp_sum stays safe
  A sum = A(0);
  for (int d = lane; d < Dh; d += 32) {
    sum += simt::to_accum(dcontext[head * Dh + d]) * simt::to_accum(context[head * Dh + d]);
  }
  sum = simt::warp_sum(sum);
  const int64_t b = head / H / T;
  if (lane == 0) delta[(b * H + head % H) * T + head / H % T] = sum;
}

}  // namespace

template <class S>
void attention_delta(View<accum_t<S>, 3> delta, In<S, 3> context, In<S, 3> dcontext,
                     Stream stream) {
  const auto [B, H, T] = delta.shape;
  const int64_t width = context.shape[2], heads = B * H * T;
  expect_shape("attention_delta", "delta [B,H,T]", delta, {B, H, T});
  expect_shape("attention_delta", "context [B,T,H*Dh]", context, {B, T, width / H * H});
  expect_shape("attention_delta", "dcontext [B,T,H*Dh]", dcontext, {B, T, width});
  simt::launch(LaunchName("attention_delta", delta.shape).text, delta_kernel<S>,
               dim3(blocks_for(heads, kHeadsPerBlock)), dim3(32, kHeadsPerBlock), 0, stream,
               delta.data, context.data, dcontext.data, heads, H, T, width / H);
}

#define ASSAY_INSTANTIATE(S) \
  template void attention_delta<S>(View<accum_t<S>, 3>, In<S, 3>, In<S, 3>, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
