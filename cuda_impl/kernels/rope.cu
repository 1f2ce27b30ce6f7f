// Rotary position embedding in the half-rotation layout, and the split into heads. With e = Dh/2, i
// < e:
//   y[b,h,t,i]     = x[b,t,h*Dh+i] * cos[t,i] - x[b,t,h*Dh+e+i] * sin[t,i]
//   y[b,h,t,e+i]   = x[b,t,h*Dh+e+i] * cos[t,i] + x[b,t,h*Dh+i] * sin[t,i]
//
//   x         [B,T,H*Dh]  accum_t<S>: a product's unrounded result
//   cos, sin  [T,Dh/2]    accum_t<S>, of angles formed in double on the host
//   y         [B,H,T,Dh]  stored as S, the only rounding to it
// Launch: one thread per pair (b,h,t,i). Any B, H, T >= 1, even Dh.
// Longest addition chain 1.
// CPU counterpart: reference/ops/rope.cpp
#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kThreads = 256;

template <class S>
__global__ void rope_kernel(S* __restrict__ y, const accum_t<S>* __restrict__ x,
                            const accum_t<S>* __restrict__ cosines,
                            const accum_t<S>* __restrict__ sines, int64_t pairs, int H, int T,
                            int Dh) {
  using A = accum_t<S>;
  const int64_t pair = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (pair >= pairs) return;
  const int half = Dh / 2;
  const int i = static_cast<int>(pair % half);
  const int64_t row = pair / half;  // (b*H + h)*T + t
  const int t = static_cast<int>(row % T);
  const int h = static_cast<int>(row / T % H);
  const int64_t b = row / T / H;

  const A* x_head = x + ((b * T + t) * H + h) * Dh;  // [Dh]
  S* y_head = y + row * Dh;                          // [Dh]
  const A c = cosines[int64_t{t} * half + i], s = sines[int64_t{t} * half + i];
  const A first = x_head[i], second = x_head[half + i];
  y_head[i] = simt::from_accum<S>(first * c - second * s);
  y_head[half + i] = simt::from_accum<S>(second * c + first * s);
}

}  // namespace

template <class S>
void rope(View<S, 4> y, In<accum_t<S>, 3> x, In<accum_t<S>, 2> cosines, In<accum_t<S>, 2> sines,
          Stream stream) {
  const auto [B, H, T, Dh] = y.shape;
  expect_shape("rope", "y [B,H,T,Dh]", y, {B, H, T, Dh});
  expect_shape("rope", "x [B,T,H*Dh]", x, {B, T, H * Dh});
  expect_shape("rope", "cosines [T,Dh/2]", cosines, {T, Dh / 2});
  expect_shape("rope", "sines [T,Dh/2]", sines, {T, Dh / 2});
  if (Dh % 2 != 0) {
    throw simt::Error("rope: Dh: expected an even head size, got " + std::to_string(Dh));
  }
  const int64_t pairs = B * H * T * (Dh / 2);
  simt::launch(LaunchName("rope", y.shape).text, rope_kernel<S>, dim3(blocks_for(pairs, kThreads)),
               dim3(kThreads), 0, stream, y.data, x.data, cosines.data, sines.data, pairs, H, T,
               Dh);
}

#define ASSAY_INSTANTIATE(S) \
  template void rope(View<S, 4>, In<accum_t<S>, 3>, In<accum_t<S>, 2>, In<accum_t<S>, 2>, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
