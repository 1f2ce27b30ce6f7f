// product_mma: product_tiled on tensor cores.  y[n,m] = sum_k x[n,k] * w[m,k] + bias[m]
//
//   x  [N,K]  row-major, N = B*T, stored as S: bf16, f16, or float, which is read as tf32
//   w  [M,K]  row-major, stored as S
//   bias [M]  stored as S, or null: none
//   y  [N,M]  row-major, stored as Out (S or float)
// Layouts: ProductLayout of kernels.h; with accumulate the chain starts from y.
// Products and sums are float: simt::mma over steps of 32 bytes along k ascending, the bias last; the
// only rounding to Out is the final store. On the host each sum is one chain in float with k
// ascending, the bits of product_tiled; a tensor core adds in an order of its own (simt/mma.h).
// Launch: one block of 8 warps per 128 x 128 tile of y and product, a warp per 64 x 32. A step of 64
// bytes along k passes through registers, fetched while the step before is multiplied, into the one of
// two shared tiles that is free; floats are rounded to tf32 on the way into it. Any N, M, K >= 1.
// Elements are fetched 16 bytes at a time where all rows of x and w lie at multiples of 16 bytes, one
// at a time otherwise, with the same result.
// 128 registers, no spills, 40960 bytes of shared memory: two blocks per SM. (nvcc 13.0, sm_80 and
// sm_90; its time on a GPU is not measured.)
// Longest addition chain K + 1.
// CPU counterpart: reference/ops/linear.cpp
#include "cuda_impl/kernels/product_rungs.h"
#include "cuda_impl/simt/chunk.h"
#include "cuda_impl/simt/mma.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

using simt::Chunk;

constexpr int kTile = 128;  // rows, and columns, of y per block
constexpr int kChunks = 4;  // of a row of a tile: a step along k
template <class S>
constexpr int kPerChunk = int{sizeof(Chunk) / sizeof(S)};  // elements
template <class S>
constexpr int kDepth = int{kChunks * sizeof(Chunk) / sizeof(S)};  // of k per step
// One chunk of padding: the 32 words of a fragment's load fall on 32 different banks.
constexpr int kStride = kChunks + 1;  // in chunks
constexpr int kWords = 4 * kStride;   // the same in words
constexpr int kWarpRows = 64, kWarpColumns = 32;
constexpr int kWarpsAcross = kTile / kWarpColumns;
constexpr int kThreads = 32 * kWarpsAcross * (kTile / kWarpRows);
constexpr int kRowTiles = kWarpRows / 16, kColumnTiles = kWarpColumns / 8;  // of mma, per warp
constexpr int kFetches = kTile * kChunks / kThreads;  // chunks per thread, matrix and step

// What tensor cores read an S as.
template <class S>
using MmaFactor = std::conditional_t<std::is_same_v<S, float>, simt::tf32, S>;

SIMT_DEVICE std::uint32_t bits_of(float value) { return simt::bits::of_float(value); }
template <class S>
SIMT_DEVICE std::uint32_t bits_of(S value) {
  return value.bits;
}

// This thread's chunks of g_matrix[row0 .., k0 ..], whose rows lie `stride` apart; zeros past the
// ends. kWhole: whole chunks.
template <bool kWhole, class S>
SIMT_DEVICE void fetch(Chunk (&r_chunks)[kFetches], const S* __restrict__ g_matrix, int64_t stride,
                       int row0, int rows, int k0, int K) {
  SIMT_UNROLL for (int i = 0; i < kFetches; ++i) {
    const int index = static_cast<int>(threadIdx.x) + i * kThreads;
    const int row = row0 + index / kChunks, k = k0 + index % kChunks * kPerChunk<S>;
    r_chunks[i] = Chunk{};
    if (row >= rows || k >= K) continue;
    const S* g_from = g_matrix + row * stride + k;
    if constexpr (kWhole) {
      r_chunks[i] = simt::load_as<Chunk>(g_from);
    } else {
      constexpr int kPerWord = kPerChunk<S> / 4;
      SIMT_UNROLL for (int e = 0; e < kPerChunk<S>; ++e) {
        if (k + e >= K) break;
        r_chunks[i].word[e / kPerWord] |= bits_of(g_from[e]) << (16 * (e % kPerWord));
      }
    }
  }
}

// Into a tile of MmaFactor<S>.
template <class S>
SIMT_DEVICE void store_tile(Chunk* s_tile, const Chunk (&r_chunks)[kFetches]) {
  SIMT_UNROLL for (int i = 0; i < kFetches; ++i) {
    const int index = static_cast<int>(threadIdx.x) + i * kThreads;
    Chunk chunk = r_chunks[i];
    if constexpr (std::is_same_v<S, float>) {
      SIMT_UNROLL for (int w = 0; w < 4; ++w) {
        chunk.word[w] = simt::bits::tf32_of_float(simt::bits::to_float(chunk.word[w]));
      }
    }
    s_tile[index / kChunks * kStride + index % kChunks] = chunk;
  }
}

// r_y += the warp's rows of one tile times its rows of the other, both of F.
template <class F>
SIMT_DEVICE void multiply(simt::MmaD (&r_y)[kRowTiles][kColumnTiles], const Chunk* s_rows,
                          const Chunk* s_columns, int lane) {
  // Unrolled, ptxas spills (8 bytes) at the 128 registers that two blocks of 8 warps leave a thread.
  SIMT_NO_UNROLL for (int word = 0; word < 4 * kChunks; word += 8) {
    const auto* rows = reinterpret_cast<const uint32_t*>(s_rows) + word;
    const auto* columns = reinterpret_cast<const uint32_t*>(s_columns) + word;
    simt::MmaB<F> r_w[kColumnTiles];
    SIMT_UNROLL for (int c = 0; c < kColumnTiles; ++c) {
      r_w[c] = simt::load_mma_b<F>(columns + 8 * c * kWords, kWords, lane);
    }
    SIMT_UNROLL for (int r = 0; r < kRowTiles; ++r) {
      const auto r_x = simt::load_mma_a<F>(rows + 16 * r * kWords, kWords, lane);
      SIMT_UNROLL for (int c = 0; c < kColumnTiles; ++c) simt::mma(r_y[r][c], r_x, r_w[c]);
    }
  }
}

// r_y = y from (row0, column0) on; zeros past the ends.
SIMT_DEVICE void load(simt::MmaD (&r_y)[kRowTiles][kColumnTiles], const float* __restrict__ g_y,
                      int row0, int column0, int N, int M, int lane) {
  SIMT_UNROLL for (int r = 0; r < kRowTiles; ++r) {
    SIMT_UNROLL for (int c = 0; c < kColumnTiles; ++c) {
      SIMT_UNROLL for (int i = 0; i < 4; ++i) {
        const simt::MmaPlace at = simt::mma_d_place(lane, i);
        const int row = row0 + 16 * r + at.row, column = column0 + 8 * c + at.column;
        if (row < N && column < M) r_y[r][c].value[i] = g_y[int64_t{row} * M + column];
      }
    }
  }
}

// Rows and columns of y from (row0, column0) on. in_pairs: two neighbours may be stored at once.
template <class S, class Out>
SIMT_DEVICE void store(Out* __restrict__ g_y, const simt::MmaD (&r_y)[kRowTiles][kColumnTiles],
                       const S* __restrict__ g_bias, int row0, int column0, int N, int M,
                       bool in_pairs, int lane) {
  SIMT_UNROLL for (int c = 0; c < kColumnTiles; ++c) {
    const int column = column0 + 8 * c + simt::mma_d_place(lane, 0).column;
    if (column >= M) continue;
    const bool both = column + 1 < M;
    float bias[2] = {};
    if (g_bias != nullptr) {
      bias[0] = simt::to_accum(g_bias[column]);
      if (both) bias[1] = simt::to_accum(g_bias[column + 1]);
    }
    SIMT_UNROLL for (int r = 0; r < kRowTiles; ++r) {
      SIMT_UNROLL for (int i = 0; i < 4; i += 2) {
        const int row = row0 + 16 * r + simt::mma_d_place(lane, i).row;
        if (row >= N) continue;
        Out* g_to = g_y + int64_t{row} * M + column;
        const simt::Pair<Out> values{static_cast<Out>(r_y[r][c].value[i] + bias[0]),
                                     static_cast<Out>(r_y[r][c].value[i + 1] + bias[1])};
        if (in_pairs) {
          simt::store_as(g_to, values);
        } else {
          g_to[0] = values.even;
          if (both) g_to[1] = values.odd;
        }
      }
    }
  }
}

template <class S, class Out, bool kWhole>
__global__ void __launch_bounds__(kThreads, 2)
    product_mma_kernel(Out* __restrict__ g_y, const S* __restrict__ g_x, const S* __restrict__ g_w,
                       const S* __restrict__ g_bias, int N, int M, int K, ProductStrides strides,
                       bool accumulate, bool in_pairs) {
  constexpr int kTileChunks = kTile * kStride;
  SIMT_SHARED(Chunk, s_tiles, 4 * kTileChunks);  // [step mod 2][x, w][row or column][k]
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int row0 = static_cast<int>(blockIdx.y) * kTile;
  const int column0 = static_cast<int>(blockIdx.x) * kTile;
  const int warp_row = warp / kWarpsAcross * kWarpRows;
  const int warp_column = warp % kWarpsAcross * kWarpColumns;
  // Whether the warp has something to store; the same for all its lanes.
  const bool is_used = row0 + warp_row < N && column0 + warp_column < M;

  const int64_t j = blockIdx.z;
  g_y += j * strides.y;
  g_x += j * strides.x;
  g_w += j * strides.w;
  if (g_bias != nullptr) g_bias += j * strides.bias;

  simt::MmaD r_y[kRowTiles][kColumnTiles] = {};
  if constexpr (std::is_same_v<Out, float>) {
    if (accumulate && is_used) {
      load(r_y, g_y, row0 + warp_row, column0 + warp_column, N, M, lane);
    }
  }
  Chunk r_next_x[kFetches], r_next_w[kFetches];
  fetch<kWhole>(r_next_x, g_x, K, row0, N, 0, K);
  fetch<kWhole>(r_next_w, g_w, strides.w_row, column0, M, 0, K);
  for (int k0 = 0; k0 < K; k0 += kDepth<S>) {
    Chunk* s_x = s_tiles + k0 / kDepth<S> % 2 * (2 * kTileChunks);
    Chunk* s_w = s_x + kTileChunks;
    store_tile<S>(s_x, r_next_x);
    store_tile<S>(s_w, r_next_w);
    // The step's tiles are complete; and every thread has read those of the step before, which the
    // next step overwrites.
    __syncthreads();
    if (k0 + kDepth<S> < K) {
      fetch<kWhole>(r_next_x, g_x, K, row0, N, k0 + kDepth<S>, K);
      fetch<kWhole>(r_next_w, g_w, strides.w_row, column0, M, k0 + kDepth<S>, K);
    }
    if (is_used) {
      multiply<MmaFactor<S>>(r_y, s_x + warp_row * kStride, s_w + warp_column * kStride, lane);
    }
  }
  if (is_used) {
    store(g_y, r_y, g_bias, row0 + warp_row, column0 + warp_column, N, M, in_pairs, lane);
  }
}

}  // namespace

template <class S, class Out>
void product_mma(View<Out, 2> y, In<S, 2> x, In<S, 2> w, In<S, 1> bias, Stream stream,
                 const ProductLayout& layout) {
  check_product<S>("product_mma", y, x, w, bias, layout, kTile);
  const auto [N, M] = y.shape;
  const int64_t K = x.shape[1];
  const ProductStrides strides = strides_of(layout, K);
  const auto in_chunks = [](const S* first, std::initializer_list<int64_t> steps) {
    bool all = simt::is_aligned(first, sizeof(Chunk));
    for (const int64_t step : steps) all = all && step % kPerChunk<S> == 0;
    return all;
  };
  const bool whole =
      in_chunks(x.data, {K, strides.x}) && in_chunks(w.data, {K, strides.w_row, strides.w});
  const bool in_pairs =
      M % 2 == 0 && strides.y % 2 == 0 && simt::is_aligned(y.data, sizeof(simt::Pair<Out>));
  simt::launch(
      LaunchName("product_mma", y.shape).text,
      whole ? product_mma_kernel<S, Out, true> : product_mma_kernel<S, Out, false>,
      dim3(blocks_for(M, kTile), blocks_for(N, kTile), static_cast<unsigned>(layout.count)),
      dim3(kThreads), 0, stream, y.data, x.data, w.data, bias.data, N, M, K, strides,
      layout.accumulate, in_pairs);
}

#define ASSAY_INSTANTIATE(S)                                                         \
  template void product_mma<S>(View<S, 2>, In<S, 2>, In<S, 2>, In<S, 1>, Stream,     \
                               const ProductLayout&);                                \
  template void product_mma<S>(View<float, 2>, In<S, 2>, In<S, 2>, In<S, 1>, Stream, \
                               const ProductLayout&);
ASSAY_FOR_NARROW_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

#define ASSAY_INSTANTIATE(S)                                                     \
  template void product_mma<S>(View<S, 2>, In<S, 2>, In<S, 2>, In<S, 1>, Stream, \
                               const ProductLayout&);
ASSAY_FOR_TYPES_READ_AS_TF32(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
