// Backward of rope.cu: the inverse rotation, heads concatenated. With e = Dh/2, i < e:
//   dx[b,t,h*Dh+i]   = dy[b,h,t,i] * cos[t,i] + dy[b,h,t,e+i] * sin[t,i]
//   dx[b,t,h*Dh+e+i] = dy[b,h,t,e+i] * cos[t,i] - dy[b,h,t,i] * sin[t,i]
//
//   dy        [B,H,T,Dh]  accum_t<S>: what attention_backward adds up
//   cos, sin  [T,Dh/2]    accum_t<S>, as in rope.cu
//   dx        [B,T,H*Dh]  stored as S, the only rounding to it
// Launch: one thread per pair (b,t,h,i). Any B, H, T >= 1, even Dh.
// Longest addition chain 1.
// CPU counterpart: reference/ops/rope.cpp
#include "cuda_impl/kernels/backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kThreads = 256;

template <class S>
__global__ void rope_backward_kernel(S* __restrict__ dx, const accum_t<S>* __restrict__ dy,
                                     const accum_t<S>* __restrict__ cosines,
                                     const accum_t<S>* __restrict__ sines, int64_t pairs, int H,
                                     int T, int Dh) {
  using A = accum_t<S>;
  const int64_t pair = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (pair >= pairs) return;
  const int half = Dh / 2;
  const int i = static_cast<int>(pair % half);
  const int64_t head = pair / half;  // (b*T + t)*H + h
  const int h = static_cast<int>(head % H);
  const int t = static_cast<int>(head / H % T);
  const int64_t b = head / H / T;

  S* dx_head = dx + head * Dh;                         // [Dh]
  const A* dy_head = dy + ((b * H + h) * T + t) * Dh;  // [Dh]
  const A c = cosines[int64_t{t} * half + i], s = sines[int64_t{t} * half + i];
  const A first = dy_head[i], second = dy_head[half + i];
  dx_head[i] = simt::from_accum<S>(first * c + second * s);
  dx_head[half + i] = simt::from_accum<S>(second * c - first * s);
}

}  // namespace

template <class S>
void rope_backward(View<S, 3> dx, In<accum_t<S>, 4> dy, In<accum_t<S>, 2> cosines,
                   In<accum_t<S>, 2> sines, Stream stream) {
  const auto [B, H, T, Dh] = dy.shape;
  expect_shape("rope_backward", "dy [B,H,T,Dh]", dy, {B, H, T, Dh});
  expect_shape("rope_backward", "dx [B,T,H*Dh]", dx, {B, T, H * Dh});
  expect_shape("rope_backward", "cosines [T,Dh/2]", cosines, {T, Dh / 2});
  expect_shape("rope_backward", "sines [T,Dh/2]", sines, {T, Dh / 2});
  if (Dh % 2 != 0) {
    throw simt::Error("rope_backward: Dh: expected an even head size, got " + std::to_string(Dh));
  }
  const int64_t pairs = B * H * T * (Dh / 2);
  simt::launch(LaunchName("rope_backward", dx.shape).text, rope_backward_kernel<S>,
               dim3(blocks_for(pairs, kThreads)), dim3(kThreads), 0, stream, dx.data, dy.data,
               cosines.data, sines.data, pairs, H, T, Dh);
}

#define ASSAY_INSTANTIATE(S)                                                                       \
  template void rope_backward(View<S, 3>, In<accum_t<S>, 4>, In<accum_t<S>, 2>, In<accum_t<S>, 2>, \
                              Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
