// Heads concatenated, the gradient of split_heads.cu:  x[b,t,h*Dh+d] = y[b,h,t,d]
//
//   y  [B,H,T,Dh]  accum_t<S>: what attention_backward gives
//   x  [B,T,H*Dh]  stored as S, the only rounding to it; positions x_row >= H*Dh elements apart
// Launch: one thread per element. Any extents >= 1.
// Longest addition chain 0.
// CPU counterpart: reference/ops/split_heads.cpp
#include "cuda_impl/kernels/backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kThreads = 256;

template <class S>
__global__ void merge_heads_kernel(S* __restrict__ x, const accum_t<S>* __restrict__ y,
                                   int64_t elements, int H, int T, int Dh, int64_t x_row) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= elements) return;
  const int d = static_cast<int>(i % Dh);
  const int64_t head = i / Dh;  // (b*T + t)*H + h
  const int h = static_cast<int>(head % H);
  const int t = static_cast<int>(head / H % T);
  const int64_t b = head / H / T;
  x[(b * T + t) * x_row + h * Dh + d] = simt::from_accum<S>(y[((b * H + h) * T + t) * Dh + d]);
}

}  // namespace

template <class S>
void merge_heads(View<S, 3> x, In<accum_t<S>, 4> y, Stream stream, int64_t x_row) {
  const auto [B, H, T, Dh] = y.shape;
  expect_shape("merge_heads", "y [B,H,T,Dh]", y, {B, H, T, Dh});
  expect_shape("merge_heads", "x [B,T,H*Dh]", x, {B, T, H * Dh});
  if (x_row == 0) x_row = H * Dh;
  if (x_row < H * Dh) {
    throw simt::Error("merge_heads: x_row: expected 0 or H*Dh = " + std::to_string(H * Dh) +
                      " at least, got " + std::to_string(x_row));
  }
  const int64_t elements = B * H * T * Dh;
  simt::launch(LaunchName("merge_heads", x.shape).text, merge_heads_kernel<S>,
               dim3(blocks_for(elements, kThreads)), dim3(kThreads), 0, stream, x.data, y.data,
               elements, H, T, Dh, x_row);
}

template void merge_heads(View<float, 3>, In<float, 4>, Stream, int64_t);
template void merge_heads(View<simt::bf16, 3>, In<float, 4>, Stream, int64_t);
template void merge_heads(View<simt::f16, 3>, In<float, 4>, Stream, int64_t);
template void merge_heads(View<double, 3>, In<double, 4>, Stream, int64_t);

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
