// Split into heads:  y[b,h,t,d] = x[b,t,h*Dh+d]
//
//   x  [B,T,H*Dh]  accum_t<S>: a gemm's unrounded result
//   y  [B,H,T,Dh]  stored as S, the only rounding to it
// Launch: one thread per element. Any extents >= 1.
// Longest addition chain 0.
// CPU counterpart: reference/ops/split_heads.cpp
#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kThreads = 256;

template <class S>
__global__ void split_heads_kernel(S* __restrict__ y, const accum_t<S>* __restrict__ x,
                                   int64_t elements, int H, int T, int Dh) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= elements) return;
  const int d = static_cast<int>(i % Dh);
  const int64_t row = i / Dh;  // (b*H + h)*T + t
  const int t = static_cast<int>(row % T);
  const int h = static_cast<int>(row / T % H);
  const int64_t b = row / T / H;
  y[i] = simt::from_accum<S>(x[((b * T + t) * H + h) * Dh + d]);
}

}  // namespace

template <class S>
void split_heads(View<S, 4> y, In<accum_t<S>, 3> x, Stream stream) {
  const auto [B, H, T, Dh] = y.shape;
  expect_shape("split_heads", "y [B,H,T,Dh]", y, {B, H, T, Dh});
  expect_shape("split_heads", "x [B,T,H*Dh]", x, {B, T, H * Dh});
  const int64_t elements = B * H * T * Dh;
  simt::launch(LaunchName("split_heads", y.shape).text, split_heads_kernel<S>,
               dim3(blocks_for(elements, kThreads)), dim3(kThreads), 0, stream, y.data, x.data,
               elements, H, T, Dh);
}

#define ASSAY_INSTANTIATE(S) template void split_heads(View<S, 4>, In<accum_t<S>, 3>, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
