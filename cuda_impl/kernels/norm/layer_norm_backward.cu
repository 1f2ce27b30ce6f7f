// LayerNorm backward. With c[n,d] = s[n,d] - mean_d(s[n,d]), s = x or x + addend, z = c * r,
// r[n] = 1 / sqrt(mean_d(c[n,d]^2) + eps) and u[n,d] = gain[d] * dy[n,d]:
//   dx[n,d]  = r[n] * (u[n,d] - mean_e(u[n,e]) - z[n,d] * mean_e(u[n,e] * z[n,e]))
//   dgain[d] = sum_n dy[n,d] * z[n,d]
//   dbias[d] = sum_n dy[n,d]
//
//   x, addend  [N,D]  row-major, N = B*T, stored as S; addend may be absent (null)
//   gain       [D]    stored as S
//   dy, dx     [N,D]  stored as Grad (S or accum_t<S>), the only rounding to it; not one array
//   dgain, dbias      [D]     accum_t<S>; with `accumulate` added to what they hold
//   mean and r of s   [2,N]   accum_t<S>, scratch, and parts [2*C,D], C = row_chunks(N): chunks of
//                             dgain, then of dbias
// Of several layers (NormLayers) all but x and the weights have layers times as many rows,
// statistics as many columns: a chunk is of one layer.
// x + addend is never rounded to S. The mean, the variance (of the centred values) and all sums are
// accum_t<S>.
// Launch: one warp per row for dx, one thread per column and chunk of rows, one per column. Any N,
// D >= 1.
// Longest addition chain ceil(D/32) + 5 for dx; min(N, kRowsPerChunk) - 1, then C for the weights.
// CPU counterpart: reference/ops/layer_norm.cpp
#include "cuda_impl/kernels/norm/norm_backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kRowsPerBlock = 4;
constexpr int kThreads = 128;

template <class S, class Grad>
__global__ void layer_norm_backward_kernel(Grad* __restrict__ dx, accum_t<S>* __restrict__ means,
                                           accum_t<S>* __restrict__ inv_stds,
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

  A sum = A(0);
  for (int d = lane; d < D; d += 32) sum += sum_at(x, addend, row, N, D, d);
  const A mean = simt::warp_sum(sum) / A(D);
  A sum_sq = A(0), sum_u = A(0), sum_uc = A(0);
  for (int d = lane; d < D; d += 32) {
    const A c = sum_at(x, addend, row, N, D, d) - mean;
    const A u = simt::to_accum(gain[d]) * simt::to_accum(dy[first + d]);
    sum_sq += c * c;
    sum_u += u;
    sum_uc += u * c;
  }
  const A r = A(1) / simt::sqrt(simt::warp_sum(sum_sq) / A(D) + eps);
  const A mean_u = simt::warp_sum(sum_u) / A(D);
  const A shrink = simt::warp_sum(sum_uc) / A(D) * r * r;  // per unit of c

  for (int d = lane; d < D; d += 32) {
    const A c = sum_at(x, addend, row, N, D, d) - mean;
    const A u = simt::to_accum(gain[d]) * simt::to_accum(dy[first + d]);
    dx[first + d] = simt::from_accum<Grad>(r * (u - mean_u - c * shrink));
  }
  if (lane == 0) {
    means[row] = mean;
    inv_stds[row] = r;
  }
}

// The rows of chunk c of sum_n dy[n,d] * z[n,d] and of sum_n dy[n,d]
template <class S, class Grad>
__global__ void weight_parts_kernel(accum_t<S>* __restrict__ gain_parts,
                                    accum_t<S>* __restrict__ bias_parts,
                                    const Grad* __restrict__ dy, const S* __restrict__ x,
                                    const S* __restrict__ addend,
                                    const accum_t<S>* __restrict__ means,
                                    const accum_t<S>* __restrict__ inv_stds, int N, int D) {
  using A = accum_t<S>;
  const int d = static_cast<int>(blockIdx.y * kThreads + threadIdx.x);
  if (d >= D) return;
  const ChunkOfRows chunk(N);
  A gain_sum = A(0), bias_sum = A(0);
  for (int64_t n = chunk.first; n < chunk.end; ++n) {
    const A grad = simt::to_accum(dy[n * D + d]);
    gain_sum += grad * (sum_at(x, addend, n, N, D, d) - means[n]) * inv_stds[n];
    bias_sum += grad;
  }
  gain_parts[chunk.part * D + d] = gain_sum;
  bias_parts[chunk.part * D + d] = bias_sum;
}

}  // namespace

template <class S, class Grad>
void layer_norm_backward(View<Grad, 2> dx, View<accum_t<S>, 1> dgain, View<accum_t<S>, 1> dbias,
                         const NormScratch<accum_t<S>>& scratch, In<Grad, 2> dy, In<S, 2> x,
                         In<S, 2> addend, In<S, 1> gain, double eps, bool accumulate, Stream stream,
                         const NormLayers& layers) {
  using A = accum_t<S>;
  constexpr const char* kName = "layer_norm_backward";
  const auto [N, D] = x.shape;
  const int64_t rows = layers.layers * N, C = row_chunks(N), parts = layers.layers * C;
  expect_layers(kName, layers, addend.data != nullptr);
  expect_shape(kName, "dx [layers*N,D]", dx, {rows, D});
  expect_shape(kName, "dy [layers*N,D]", dy, {rows, D});
  expect_shape(kName, "x [N,D]", x, {N, D});
  if (addend.data != nullptr) expect_shape(kName, "addend [layers*N,D]", addend, {rows, D});
  expect_shape(kName, "gain [D]", gain, {D});
  expect_shape(kName, "dgain [D]", dgain, {D});
  expect_shape(kName, "dbias [D]", dbias, {D});
  expect_shape(kName, "statistics [2,layers*N]", scratch.statistics, {2, rows});
  expect_shape(kName, "parts [2*layers*C,D]", scratch.parts, {2 * parts, D});
  A *const means = scratch.statistics.data, *const inv_stds = means + rows;
  A *const gain_parts = scratch.parts.data, *const bias_parts = gain_parts + parts * D;
  simt::launch(LaunchName(kName, dx.shape).text, layer_norm_backward_kernel<S, Grad>,
               dim3(blocks_for(rows, kRowsPerBlock)), dim3(32, kRowsPerBlock), 0, stream, dx.data,
               means, inv_stds, dy.data, x.data, addend.data, gain.data, rows, N, D, layers.weights,
               eps);
  simt::launch(
      LaunchName("layer_norm_backward weights", dx.shape).text, weight_parts_kernel<S, Grad>,
      dim3(static_cast<unsigned>(C), blocks_for(D, kThreads), static_cast<unsigned>(layers.layers)),
      dim3(kThreads), 0, stream, gain_parts, bias_parts, dy.data, x.data, addend.data, means,
      inv_stds, N, D);
  for (const auto& [sum, from] : {std::pair{dgain, gain_parts}, std::pair{dbias, bias_parts}}) {
    sum_parts<A>(sum, {from, {parts, D}}, accumulate, stream, layers.layers, layers.gradients);
  }
}

#define ASSAY_INSTANTIATE(S, Grad)                                                             \
  template void layer_norm_backward<S>(                                                        \
      View<Grad, 2>, View<accum_t<S>, 1>, View<accum_t<S>, 1>, const NormScratch<accum_t<S>>&, \
      In<Grad, 2>, In<S, 2>, In<S, 2>, In<S, 1>, double, bool, Stream, const NormLayers&);
ASSAY_INSTANTIATE(float, float)
ASSAY_INSTANTIATE(simt::bf16, simt::bf16)
ASSAY_INSTANTIATE(simt::bf16, float)
ASSAY_INSTANTIATE(simt::f16, simt::f16)
ASSAY_INSTANTIATE(simt::f16, float)
ASSAY_INSTANTIATE(double, double)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
