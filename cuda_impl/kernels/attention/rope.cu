// Rotary position embedding in the half-rotation layout, and the split into heads. With e = Dh/2,
// i < e and p = position_offset[b] + t:
//   y[b,h,t,i]     = x[b,t,h*Dh+i] * cos[p,i] - x[b,t,h*Dh+e+i] * sin[p,i]
//   y[b,h,t,e+i]   = x[b,t,h*Dh+e+i] * cos[p,i] + x[b,t,h*Dh+i] * sin[p,i]
//
//   x                [B,T,H*Dh]  accum_t<S>: a gemm's unrounded result
//   cos, sin         [R,Dh/2]    accum_t<S>, of angles formed in double on the host; of p >= R,
//                                which nobody reads, the last row's
//   position_offset  [B]         or null: 0
//   y                [B,H,T,Dh]  stored as S, the only rounding to it
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
                            const accum_t<S>* __restrict__ sines,
                            const int32_t* __restrict__ position_offset, int64_t pairs, int H,
                            int T, int R, int Dh) {
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
  const int position = position_of(position_offset, b, t, R);
  const A c = cosines[int64_t{position} * half + i], s = sines[int64_t{position} * half + i];
  const A low = x_head[i], high = x_head[half + i];
  y_head[i] = simt::from_accum<S>(low * c - high * s);
  y_head[half + i] = simt::from_accum<S>(high * c + low * s);
}

}  // namespace

template <class S>
void rope(View<S, 4> y, In<accum_t<S>, 3> x, In<accum_t<S>, 2> cosines, In<accum_t<S>, 2> sines,
          const int32_t* position_offset, Stream stream) {
  const auto [B, H, T, Dh] = y.shape;
  expect_shape("rope", "y [B,H,T,Dh]", y, {B, H, T, Dh});
  expect_shape("rope", "x [B,T,H*Dh]", x, {B, T, H * Dh});
  const int64_t R = cosines.shape[0];
  expect_shape("rope", "cosines [R,Dh/2]", cosines, {R, Dh / 2});
  expect_shape("rope", "sines [R,Dh/2]", sines, {R, Dh / 2});
  expect_at_most("rope", "T", T, R);
  if (Dh % 2 != 0) {
    throw simt::Error("rope: Dh: expected an even head size, got " + std::to_string(Dh));
  }
  const int64_t pairs = B * H * T * (Dh / 2);
  simt::launch(LaunchName("rope", y.shape).text, rope_kernel<S>, dim3(blocks_for(pairs, kThreads)),
               dim3(kThreads), 0, stream, y.data, x.data, cosines.data, sines.data, position_offset,
               pairs, H, T, R, Dh);
}

#define ASSAY_INSTANTIATE(S)                                                              \
  template void rope(View<S, 4>, In<accum_t<S>, 3>, In<accum_t<S>, 2>, In<accum_t<S>, 2>, \
                     const int32_t*, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
