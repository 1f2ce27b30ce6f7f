// Rotary position embedding of heads that stand by themselves, and the way back. With e = Dh/2,
// i < e and p = position_offset[b] + t:
//   y[b,h,t,i]   = x[b,h,t,i] * cos[p,i] -+ x[b,h,t,e+i] * sin[p,i]
//   y[b,h,t,e+i] = x[b,h,t,e+i] * cos[p,i] +- x[b,h,t,i] * sin[p,i]
// with the upper signs, and with the lower ones for `back`: the inverse, which is the gradient.
//
//   x, y             [B,H,T,Dh]  stored as S; may be one array
//   cos, sin         [R,Dh/2]    accum_t<S>, of angles formed in double on the host; of p >= R,
//                                which nobody reads, the last row's
//   position_offset  [B]         or null: 0
// Launch: one thread per pair (b,h,t,i). Any B, H, T >= 1, even Dh.
// Longest addition chain 1.
// CPU counterpart: reference/ops/rope.cpp
#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kThreads = 256;

// No __restrict__ on x and y: a thread reads its pair before it writes it.
template <class S>
__global__ void turn_heads_kernel(S* y, const S* x, const accum_t<S>* __restrict__ cosines,
                                  const accum_t<S>* __restrict__ sines,
                                  const int32_t* __restrict__ position_offset, int64_t pairs, int H,
                                  int T, int R, int Dh, bool back) {
  using A = accum_t<S>;
  const int64_t pair = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (pair >= pairs) return;
  const int half = Dh / 2;
  const int i = static_cast<int>(pair % half);
  const int64_t row = pair / half;  // (b*H + h)*T + t
  const int t = static_cast<int>(row % T);
  const int64_t b = row / T / H;

  const int64_t first = row * Dh + i, second = first + half;
  const int position = position_of(position_offset, b, t, R);
  const A c = cosines[int64_t{position} * half + i];
  A s = sines[int64_t{position} * half + i];
  if (back) s = -s;
  const A low = simt::to_accum(x[first]), high = simt::to_accum(x[second]);
  y[first] = simt::from_accum<S>(low * c - high * s);
  y[second] = simt::from_accum<S>(high * c + low * s);
}

}  // namespace

template <class S>
void turn_heads(View<S, 4> y, In<S, 4> x, In<accum_t<S>, 2> cosines, In<accum_t<S>, 2> sines,
                const int32_t* position_offset, bool back, Stream stream) {
  const auto [B, H, T, Dh] = y.shape;
  expect_shape("turn_heads", "y [B,H,T,Dh]", y, {B, H, T, Dh});
  expect_shape("turn_heads", "x [B,H,T,Dh]", x, {B, H, T, Dh});
  const int64_t R = cosines.shape[0];
  expect_shape("turn_heads", "cosines [R,Dh/2]", cosines, {R, Dh / 2});
  expect_shape("turn_heads", "sines [R,Dh/2]", sines, {R, Dh / 2});
  expect_at_most("turn_heads", "T", T, R);
  if (Dh % 2 != 0) {
    throw simt::Error("turn_heads: Dh: expected an even head size, got " + std::to_string(Dh));
  }
  const int64_t pairs = B * H * T * (Dh / 2);
  simt::launch(LaunchName("turn_heads", y.shape).text, turn_heads_kernel<S>,
               dim3(blocks_for(pairs, kThreads)), dim3(kThreads), 0, stream, y.data, x.data,
               cosines.data, sines.data, position_offset, pairs, H, T, R, Dh, back);
}

#define ASSAY_INSTANTIATE(S)                                                           \
  template void turn_heads(View<S, 4>, In<S, 4>, In<accum_t<S>, 2>, In<accum_t<S>, 2>, \
                           const int32_t*, bool, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
