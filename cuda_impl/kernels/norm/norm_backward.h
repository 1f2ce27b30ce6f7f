// The backward kernels of both norms, LayerNorm and RMSNorm, and their launcher; the contracts are
// in layer_norm_backward.cu and rms_norm_backward.cu.
#pragma once

#include "cuda_impl/kernels/backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// x[row,d] + addend[row,d] (null: 0), of rows that share x [N,D] every N.
template <class S>
SIMT_DEVICE accum_t<S> sum_at(const S* x, const S* addend, int64_t row, int N, int D, int d) {
  const accum_t<S> value = simt::to_accum(x[row % N * D + d]);
  return addend == nullptr ? value : value + simt::to_accum(addend[row * D + d]);
}

// The rows [first, end) that a block sums up: chunk blockIdx.x of layer blockIdx.z.
struct ChunkOfRows {
  int64_t first, end;
  int64_t part;  // where its sum goes

  SIMT_DEVICE explicit ChunkOfRows(int N)
      : first(int64_t{blockIdx.z} * N + int64_t{blockIdx.x} * kRowsPerChunk),
        end(first + kRowsPerChunk),
        part(int64_t{blockIdx.z} * gridDim.x + blockIdx.x) {
    const int64_t last = (int64_t{blockIdx.z} + 1) * N;
    if (end > last) end = last;
  }
};

inline constexpr int kNormRowsPerBlock = 4;
inline constexpr int kNormThreads = 128;

// dx of one row per warp, and what weight_parts_kernel reads of the row: the mean (kCentred) and r.
// kCentred: LayerNorm, whose sums are centred; else RMSNorm, for which c is x + addend itself.
template <bool kCentred, class S, class Grad>
__global__ void norm_backward_kernel(Grad* __restrict__ dx, accum_t<S>* __restrict__ means,
                                     accum_t<S>* __restrict__ inverses, const Grad* __restrict__ dy,
                                     const S* __restrict__ x, const S* __restrict__ addend,
                                     const S* __restrict__ gain, int rows, int N, int D,
                                     int64_t gain_stride, accum_t<S> eps) {
  using A = accum_t<S>;
  const int row = static_cast<int>(blockIdx.x * kNormRowsPerBlock + threadIdx.y);
  const int lane = static_cast<int>(threadIdx.x);  // [0, 32)
  if (row >= rows) return;  // same for the whole warp, so warp_sum stays safe
  const int64_t first = int64_t{row} * D;
  gain += row / N * gain_stride;

  A mean = A(0);
  if constexpr (kCentred) {
    A sum = A(0);
    for (int d = lane; d < D; d += 32) sum += sum_at(x, addend, row, N, D, d);
    mean = simt::warp_sum(sum) / A(D);
  }
  const auto centred = [&](int d) {
    const A value = sum_at(x, addend, row, N, D, d);
    if constexpr (kCentred) return value - mean;
    return value;
  };

  A sum_sq = A(0), sum_u = A(0), sum_uc = A(0);
  for (int d = lane; d < D; d += 32) {
    const A c = centred(d);
    const A u = simt::to_accum(gain[d]) * simt::to_accum(dy[first + d]);
    sum_sq += c * c;
    if constexpr (kCentred) sum_u += u;
    sum_uc += u * c;
  }
  const A r = A(1) / simt::sqrt(simt::warp_sum(sum_sq) / A(D) + eps);
  A mean_u = A(0);
  if constexpr (kCentred) mean_u = simt::warp_sum(sum_u) / A(D);
  const A shrink = simt::warp_sum(sum_uc) / A(D) * r * r;  // per unit of c

  for (int d = lane; d < D; d += 32) {
    const A c = centred(d);
    A u = simt::to_accum(gain[d]) * simt::to_accum(dy[first + d]);
    if constexpr (kCentred) u -= mean_u;
    dx[first + d] = simt::from_accum<Grad>(r * (u - c * shrink));
  }
  if (lane != 0) return;
  if constexpr (kCentred) means[row] = mean;
  inverses[row] = r;
}

// The rows of a chunk of sum_n dy[n,d] * z[n,d] and, with kCentred, of sum_n dy[n,d].
template <bool kCentred, class S, class Grad>
__global__ void weight_parts_kernel(accum_t<S>* __restrict__ gain_parts,
                                    accum_t<S>* __restrict__ bias_parts,
                                    const Grad* __restrict__ dy, const S* __restrict__ x,
                                    const S* __restrict__ addend,
                                    const accum_t<S>* __restrict__ means,
                                    const accum_t<S>* __restrict__ inverses, int N, int D) {
  using A = accum_t<S>;
  const int d = static_cast<int>(blockIdx.y * kNormThreads + threadIdx.x);
  if (d >= D) return;
  const ChunkOfRows chunk(N);
  A gain_sum = A(0), bias_sum = A(0);
  for (int64_t n = chunk.first; n < chunk.end; ++n) {
    const A grad = simt::to_accum(dy[n * D + d]);
    A c = sum_at(x, addend, n, N, D, d);
    if constexpr (kCentred) c -= means[n];
    gain_sum += grad * c * inverses[n];
    if constexpr (kCentred) bias_sum += grad;
  }
  gain_parts[chunk.part * D + d] = gain_sum;
  if constexpr (kCentred) bias_parts[chunk.part * D + d] = bias_sum;
}

// Both norms' launcher; dbias is not read without kCentred.
template <bool kCentred, class S, class Grad>
void launch_norm_backward(View<Grad, 2> dx, View<accum_t<S>, 1> dgain, View<accum_t<S>, 1> dbias,
                          const NormScratch<accum_t<S>>& scratch, In<Grad, 2> dy, In<S, 2> x,
                          In<S, 2> addend, In<S, 1> gain, double eps, bool accumulate,
                          Stream stream, const NormLayers& layers) {
  using A = accum_t<S>;
  constexpr const char* kName = kCentred ? "layer_norm_backward" : "rms_norm_backward";
  constexpr const char* kWeightsName =
      kCentred ? "layer_norm_backward weights" : "rms_norm_backward gain";
  const auto [N, D] = x.shape;
  const int64_t rows = layers.layers * N, C = row_chunks(N), parts = layers.layers * C;
  expect_at_most(kName, "layers", layers.layers, addend.data != nullptr ? 65535 : 1);
  expect_shape(kName, "dx [layers*N,D]", dx, {rows, D});
  expect_shape(kName, "dy [layers*N,D]", dy, {rows, D});
  expect_shape(kName, "x [N,D]", x, {N, D});
  if (addend.data != nullptr) expect_shape(kName, "addend [layers*N,D]", addend, {rows, D});
  expect_shape(kName, "gain [D]", gain, {D});
  expect_shape(kName, "dgain [D]", dgain, {D});
  if constexpr (kCentred) {
    expect_shape(kName, "dbias [D]", dbias, {D});
    expect_shape(kName, "statistics [2,layers*N]", scratch.statistics, {2, rows});
    expect_shape(kName, "parts [2*layers*C,D]", scratch.parts, {2 * parts, D});
  } else {
    expect_shape(kName, "statistics [1,layers*N]", scratch.statistics, {1, rows});
    expect_shape(kName, "parts [layers*C,D]", scratch.parts, {parts, D});
  }
  A* const means = kCentred ? scratch.statistics.data : nullptr;
  A* const inverses = scratch.statistics.data + (kCentred ? rows : 0);
  A* const gain_parts = scratch.parts.data;
  A* const bias_parts = kCentred ? gain_parts + parts * D : nullptr;
  simt::launch(LaunchName(kName, dx.shape).text, norm_backward_kernel<kCentred, S, Grad>,
               dim3(blocks_for(rows, kNormRowsPerBlock)), dim3(32, kNormRowsPerBlock), 0, stream,
               dx.data, means, inverses, dy.data, x.data, addend.data, gain.data, rows, N, D,
               layers.weights, eps);
  simt::launch(LaunchName(kWeightsName, dx.shape).text, weight_parts_kernel<kCentred, S, Grad>,
               dim3(static_cast<unsigned>(C), blocks_for(D, kNormThreads),
                    static_cast<unsigned>(layers.layers)),
               dim3(kNormThreads), 0, stream, gain_parts, bias_parts, dy.data, x.data, addend.data,
               means, inverses, N, D);
  const auto add_up = [&](View<A, 1> sum, A* from) {
    sum_parts<A>(sum, {from, {parts, D}}, accumulate, stream, layers.layers, layers.gradients);
  };
  add_up(dgain, gain_parts);
  if constexpr (kCentred) add_up(dbias, bias_parts);
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
