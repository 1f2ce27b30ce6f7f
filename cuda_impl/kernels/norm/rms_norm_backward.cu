// RMSNorm backward. With z = x or x + addend, r[n] = 1 / sqrt(mean_d(z[n,d]^2) + eps):
//   dx[n,d]  = r[n] * (gain[d] * dy[n,d] - z[n,d] * r[n]^2 * mean_e(gain[e] * dy[n,e] * z[n,e]))
//   dgain[d] = sum_n dy[n,d] * z[n,d] * r[n]
//
//   x, addend  [N,D]  row-major, N = B*T, stored as S; addend may be absent (null)
//   gain       [D]    stored as S
//   dy, dx     [N,D]  stored as Grad (S or accum_t<S>), the only rounding to it; not one array
//   dgain      [D]    accum_t<S>; with `accumulate` added to what it holds
//   r          [1,N]  accum_t<S>, scratch, and parts [C,D], C = row_chunks(N): chunks of dgain
// Of several layers (NormLayers) all but x, gain and dgain have layers times as many rows, and r as
// many columns: a chunk is of one layer.
// Sums are accum_t<S>; x + addend is never rounded to S. dx is the gradient with respect to x and
// by addend.
// Launch: one warp per row for dx, one thread per column and chunk of rows, one per column. Any N,
// D >= 1.
// Longest addition chain ceil(D/32) + 5 for dx; min(N, kRowsPerChunk) - 1, then C for dgain.
// CPU counterpart: reference/ops/rms_norm.cpp
#include "cuda_impl/kernels/norm/norm_backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kRowsPerBlock = 4;
constexpr int kThreads = 128;

template <class S, class Grad>
__global__ void rms_norm_backward_kernel(Grad* __restrict__ dx, accum_t<S>* __restrict__ inv_rms,
                                         const Grad* __restrict__ dy, const S* __restrict__ x,
                                         const S* __restrict__ addend, const S* __restrict__ gain,
                                         int rows, int N, int D, int64_t gain_stride,
                                         accum_t<S> eps) {
  using A = accum_t<S>;
  const int row = static_cast<int>(blockIdx.x * kRowsPerBlock + threadIdx.y);
  const int lane = static_cast<int>(threadIdx.x);  // [0, 32)
  if (row >= rows) return;  // same for the whole warp, so warp_sum stays safe
  const int64_t first = int64_t{row} * D;
  gain += row / N * gain_stride;

  A sum_sq = A(0), along = A(0);  // along: how much of gain * dy lies along z
  for (int d = lane; d < D; d += 32) {
    const A z = sum_at(x, addend, row, N, D, d);
    sum_sq += z * z;
    along += simt::to_accum(gain[d]) * simt::to_accum(dy[first + d]) * z;
  }
  const A r = A(1) / simt::sqrt(simt::warp_sum(sum_sq) / A(D) + eps);
  const A shrink = simt::warp_sum(along) / A(D) * r * r;

  for (int d = lane; d < D; d += 32) {
    const A scaled = simt::to_accum(gain[d]) * simt::to_accum(dy[first + d]);
    dx[first + d] = simt::from_accum<Grad>(r * (scaled - sum_at(x, addend, row, N, D, d) * shrink));
  }
  if (lane == 0) inv_rms[row] = r;
}

// parts[c,d] = the rows of chunk c of sum_n dy[n,d] * z[n,d] * inv_rms[n]
template <class S, class Grad>
__global__ void gain_parts_kernel(accum_t<S>* __restrict__ parts, const Grad* __restrict__ dy,
                                  const S* __restrict__ x, const S* __restrict__ addend,
                                  const accum_t<S>* __restrict__ inv_rms, int N, int D) {
  using A = accum_t<S>;
  const int d = static_cast<int>(blockIdx.y * kThreads + threadIdx.x);
  if (d >= D) return;
  const ChunkOfRows chunk(N);
  A sum = A(0);
  for (int64_t n = chunk.first; n < chunk.end; ++n) {
    sum += simt::to_accum(dy[n * D + d]) * sum_at(x, addend, n, N, D, d) * inv_rms[n];
  }
  parts[chunk.part * D + d] = sum;
}

}  // namespace

template <class S, class Grad>
void rms_norm_backward(View<Grad, 2> dx, View<accum_t<S>, 1> dgain,
                       const NormScratch<accum_t<S>>& scratch, In<Grad, 2> dy, In<S, 2> x,
                       In<S, 2> addend, In<S, 1> gain, double eps, bool accumulate, Stream stream,
                       const NormLayers& layers) {
  constexpr const char* kName = "rms_norm_backward";
  const auto [N, D] = x.shape;
  const int64_t rows = layers.layers * N, C = row_chunks(N);
  expect_layers(kName, layers, addend.data != nullptr);
  expect_shape(kName, "dx [layers*N,D]", dx, {rows, D});
  expect_shape(kName, "dy [layers*N,D]", dy, {rows, D});
  expect_shape(kName, "x [N,D]", x, {N, D});
  if (addend.data != nullptr) expect_shape(kName, "addend [layers*N,D]", addend, {rows, D});
  expect_shape(kName, "gain [D]", gain, {D});
  expect_shape(kName, "dgain [D]", dgain, {D});
  expect_shape(kName, "statistics [1,layers*N]", scratch.statistics, {1, rows});
  expect_shape(kName, "parts [layers*C,D]", scratch.parts, {layers.layers * C, D});
  simt::launch(LaunchName(kName, dx.shape).text, rms_norm_backward_kernel<S, Grad>,
               dim3(blocks_for(rows, kRowsPerBlock)), dim3(32, kRowsPerBlock), 0, stream, dx.data,
               scratch.statistics.data, dy.data, x.data, addend.data, gain.data, rows, N, D,
               layers.weights, eps);
  simt::launch(
      LaunchName("rms_norm_backward gain", dx.shape).text, gain_parts_kernel<S, Grad>,
      dim3(static_cast<unsigned>(C), blocks_for(D, kThreads), static_cast<unsigned>(layers.layers)),
      dim3(kThreads), 0, stream, scratch.parts.data, dy.data, x.data, addend.data,
      scratch.statistics.data, N, D);
  sum_parts<accum_t<S>>(dgain, scratch.parts, accumulate, stream, layers.layers, layers.gradients);
}

#define ASSAY_INSTANTIATE(S, Grad)                                                          \
  template void rms_norm_backward<S>(View<Grad, 2>, View<accum_t<S>, 1>,                    \
                                     const NormScratch<accum_t<S>>&, In<Grad, 2>, In<S, 2>, \
                                     In<S, 2>, In<S, 1>, double, bool, Stream, const NormLayers&);
ASSAY_INSTANTIATE(float, float)
ASSAY_INSTANTIATE(simt::bf16, simt::bf16)
ASSAY_INSTANTIATE(simt::bf16, float)
ASSAY_INSTANTIATE(simt::f16, simt::f16)
ASSAY_INSTANTIATE(simt::f16, float)
ASSAY_INSTANTIATE(double, double)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
