// A 128 x 128 tile of a gemm out = a b on tensor cores, out[i,j] = sum_k a[i,k] * b[k,j]: what
// gemm_mma.cu and gemm_backward_mma.cu share. A block of 8 warps has the tile, a warp 64 x 32
// of it.
//
// Factors are stored as S (bf16, f16, or float, which is read as tf32), each as a row-major matrix
// whose rows run along k (InnerDepth) or across it (OuterDepth). A step of 64 bytes along k passes
// through registers, fetched while the step before is multiplied, into the one of two pairs of
// shared tiles that is free; floats are rounded to tf32 on the way into it.
// In a tile a word holds what simt::mma reads as one: two neighbours along k of a 16-bit type, or
// one tf32.
#pragma once

#include "cuda_impl/kernels/kernels.h"
#include "cuda_impl/simt/chunk.h"
#include "cuda_impl/simt/mma.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Of the gemms' blocks; apart from the tiles of attention.
namespace gemm_tile {

using simt::Chunk;

inline constexpr int kTile = 128;  // rows, and columns, of out per block
inline constexpr int kChunks = 4;  // of k per step
template <class S>
inline constexpr int kPerChunk = int{sizeof(Chunk) / sizeof(S)};  // elements
template <class S>
inline constexpr int kDepth =
    int{kChunks * sizeof(Chunk) / sizeof(S)};   // of k per step, in elements
inline constexpr int kWordDepth = 4 * kChunks;  // the same in words
inline constexpr int kWarpRows = 64, kWarpColumns = 32;
inline constexpr int kWarpsAcross = kTile / kWarpColumns;
inline constexpr int kThreads = 32 * kWarpsAcross * (kTile / kWarpRows);
inline constexpr int kRowTiles = kWarpRows / 16,
                     kColumnTiles = kWarpColumns / 8;        // of mma, per warp
inline constexpr int kFetches = kTile * kChunks / kThreads;  // chunks per thread, factor and step

// What tensor cores read an S as.
template <class S>
using MmaFactor = std::conditional_t<std::is_same_v<S, float>, simt::tf32, S>;

// A warp's part of out.
using WarpSums = simt::MmaD[kRowTiles][kColumnTiles];
// What a thread has fetched of a factor.
using Fetched = Chunk[kFetches];

// A factor from the block's first row of a, or column of b, on.
template <class S>
struct Factor {
  const S* g_first;
  int64_t stride;  // elements from row to row of the matrix
  int extent;      // rows of a, or columns of b, from there to the end: 1 or more
};

SIMT_DEVICE std::uint32_t bits_of(float value) { return simt::bits::of_float(value); }
template <class S>
SIMT_DEVICE std::uint32_t bits_of(S value) {
  return value.bits;
}

// Elements [first, first + count) of g_matrix, as many as a chunk has at most; zeros for the
// others.
// kWhole: `count` leaves no chunk in pieces, and all chunks are aligned.
template <bool kWhole, class S>
SIMT_DEVICE Chunk fetch_chunk(const S* __restrict__ g_matrix, int64_t first, int count) {
  Chunk chunk{};
  if constexpr (kWhole) {
    if (count > 0) chunk = simt::load_as<Chunk>(g_matrix + first);
  } else {
    constexpr int kPerWord = kPerChunk<S> / 4;
    SIMT_UNROLL for (int e = 0; e < kPerChunk<S>; ++e) {
      if (e >= count) break;
      chunk.word[e / kPerWord] |= bits_of(g_matrix[first + e]) << (16 * (e % kPerWord));
    }
  }
  return chunk;
}

// As words of a tile.
SIMT_DEVICE Chunk rounded_to_tf32(Chunk chunk) {
  SIMT_UNROLL for (int w = 0; w < 4; ++w) {
    chunk.word[w] = simt::bits::tf32_of_float(simt::bits::to_float(chunk.word[w]));
  }
  return chunk;
}

// A matrix [extent,depth]. Its tile is a row of words per row of the matrix.
template <class S>
struct InnerDepth {
  // One chunk of padding: the 32 words of a fragment's load fall on 32 different banks.
  static constexpr int kStride = kChunks + 1;  // in chunks
  static constexpr int kTileChunks = kTile * kStride;
  // Where the words of row i begin, and how far apart those of a row lie.
  static SIMT_DEVICE int words_to(int i) { return i * (4 * kStride); }
  static constexpr int kWordStep = 1;

  // The matrix from row `first` on.
  static SIMT_DEVICE Factor<S> from(const S* g_matrix, int64_t stride, int first, int extent) {
    return {g_matrix + first * stride, stride, extent - first};
  }
  // This thread's chunks of the step from k0 on; zeros past the ends.
  template <bool kWhole>
  static SIMT_DEVICE void fetch(Fetched& r_chunks, const Factor<S>& factor, int k0, int depth) {
    SIMT_UNROLL for (int n = 0; n < kFetches; ++n) {
      const int index = static_cast<int>(threadIdx.x) + n * kThreads;
      const int i = index / kChunks, k = k0 + index % kChunks * kPerChunk<S>;
      r_chunks[n] = fetch_chunk<kWhole>(factor.g_first, i * factor.stride + k,
                                        i < factor.extent ? depth - k : 0);
    }
  }
  static SIMT_DEVICE void store(Chunk* s_tile, const Fetched& r_chunks) {
    SIMT_UNROLL for (int n = 0; n < kFetches; ++n) {
      const int index = static_cast<int>(threadIdx.x) + n * kThreads;
      Chunk chunk = r_chunks[n];
      if constexpr (std::is_same_v<S, float>) chunk = rounded_to_tf32(chunk);
      s_tile[index / kChunks * kStride + index % kChunks] = chunk;
    }
  }
};

// A matrix [depth,extent]. Its tile is a row of words per word of k. Of a 16-bit type a thread
// fetches chunks of two neighbouring rows and stores their words, 8 columns of one word of k, as
// two chunks:
// the first in the lower half of the row, the second in the upper one, so that threads side by side
// store side by side.
template <class S>
struct OuterDepth {
  static constexpr bool kIsPaired = !std::is_same_v<S, float>;
  // Padding between the halves and at the end: the 32 words of a fragment's load, 4 rows of 8
  // columns, fall on 32 different banks.
  static constexpr int kHalf = kTile / 8 + 1, kStride = kTile / 4 + 2;  // in chunks
  static constexpr int kTileChunks = kWordDepth * kStride;
  // Where column i is in a row, words_to(8 * a + b) = words_to(8 * a) + words_to(b) for b < 8; and
  // how far apart the words of a column lie.
  static SIMT_DEVICE int words_to(int i) {
    return kIsPaired ? i / 8 * 4 + i / 4 % 2 * (4 * kHalf) + i % 4 : i;
  }
  static constexpr int kWordStep = 4 * kStride;

  // Of the thread's chunk n: its row of the step, and its place among the chunks of that row.
  static constexpr int kAcross = kTile / kPerChunk<S>;
  static SIMT_DEVICE int row_of(int n) {
    const int row = static_cast<int>(threadIdx.x) / kAcross;
    return kIsPaired ? 2 * row + n : row + n * (kThreads / kAcross);
  }
  static SIMT_DEVICE int chunk_of_row() { return static_cast<int>(threadIdx.x) % kAcross; }

  // The matrix from column `first` on.
  static SIMT_DEVICE Factor<S> from(const S* g_matrix, int64_t stride, int first, int extent) {
    return {g_matrix + first, stride, extent - first};
  }
  template <bool kWhole>
  static SIMT_DEVICE void fetch(Fetched& r_chunks, const Factor<S>& factor, int k0, int depth) {
    const int i = chunk_of_row() * kPerChunk<S>;
    SIMT_UNROLL for (int n = 0; n < kFetches; ++n) {
      const int k = k0 + row_of(n);
      r_chunks[n] = fetch_chunk<kWhole>(factor.g_first, k * factor.stride + i,
                                        k < depth ? factor.extent - i : 0);
    }
  }
  static SIMT_DEVICE void store(Chunk* s_tile, const Fetched& r_chunks) {
    if constexpr (kIsPaired) {
      static_assert(kFetches == 2);
      const Chunk &even = r_chunks[0], &odd = r_chunks[1];
      Chunk* s_to = s_tile + row_of(0) / 2 * kStride + chunk_of_row();
      SIMT_UNROLL for (int half = 0; half < 2; ++half) {
        Chunk words;
        SIMT_UNROLL for (int w = 0; w < 2; ++w) {
          const std::uint32_t a = even.word[2 * half + w], b = odd.word[2 * half + w];
          words.word[2 * w] = (a & 0xFFFFu) | b << 16;
          words.word[2 * w + 1] = a >> 16 | (b & 0xFFFF0000u);
        }
        s_to[half * kHalf] = words;
      }
    } else {
      SIMT_UNROLL for (int n = 0; n < kFetches; ++n) {
        s_tile[row_of(n) * kStride + chunk_of_row()] = rounded_to_tf32(r_chunks[n]);
      }
    }
  }
};

// The block's thread, and its warp's part of the tile.
struct WarpPlace {
  int lane, row, column;
  static SIMT_DEVICE WarpPlace of_thread() {
    const int thread = static_cast<int>(threadIdx.x), warp = thread / 32;
    return {thread % 32, warp / kWarpsAcross * kWarpRows, warp % kWarpsAcross * kWarpColumns};
  }
};

// r_sums += the warp's rows of a times its columns of b, of one step. Left, Right: InnerDepth or
// OuterDepth.
template <class S, template <class> class Left, template <class> class Right>
SIMT_DEVICE void multiply(WarpSums& r_sums, const Chunk* s_a, const Chunk* s_b,
                          const WarpPlace& warp) {
  using F = MmaFactor<S>;
  using A = Left<S>;
  using B = Right<S>;
  const auto* a = reinterpret_cast<const std::uint32_t*>(s_a) + A::words_to(warp.row);
  const auto* b = reinterpret_cast<const std::uint32_t*>(s_b) + B::words_to(warp.column);
  SIMT_NO_UNROLL for (int word = 0; word < kWordDepth; word += 8) {
    simt::MmaB<F> r_b[kColumnTiles];
    SIMT_UNROLL for (int c = 0; c < kColumnTiles; ++c) {
      SIMT_UNROLL for (int w = 0; w < 2; ++w) {
        const simt::MmaPlace at = simt::mma_b_word(warp.lane, w);
        r_b[c].word[w] =
            b[(word + at.row) * B::kWordStep + B::words_to(8 * c) + B::words_to(at.column)];
      }
    }
    SIMT_UNROLL for (int r = 0; r < kRowTiles; ++r) {
      simt::MmaA<F> r_a;
      SIMT_UNROLL for (int w = 0; w < 4; ++w) {
        const simt::MmaPlace at = simt::mma_a_word(warp.lane, w);
        r_a.word[w] =
            a[(word + at.column) * A::kWordStep + A::words_to(16 * r) + A::words_to(at.row)];
      }
      SIMT_UNROLL for (int c = 0; c < kColumnTiles; ++c) simt::mma(r_sums[r][c], r_a, r_b[c]);
    }
  }
}

template <class S, template <class> class Left, template <class> class Right>
inline constexpr int kSharedChunks = 2 * (Left<S>::kTileChunks + Right<S>::kTileChunks);

// r_sums += the warp's part of a b, steps of k ascending. s_tiles: [step mod 2][a, b], of
// kSharedChunks.
// A warp with is_used false fetches for the others alone.
template <class S, template <class> class Left, template <class> class Right, bool kWhole>
SIMT_DEVICE void add_gemm(WarpSums& r_sums, Chunk* s_tiles, const Factor<S>& a, const Factor<S>& b,
                          int depth, const WarpPlace& warp, bool is_used) {
  using A = Left<S>;
  using B = Right<S>;
  Fetched r_next_a, r_next_b;
  A::template fetch<kWhole>(r_next_a, a, 0, depth);
  B::template fetch<kWhole>(r_next_b, b, 0, depth);
  for (int k0 = 0; k0 < depth; k0 += kDepth<S>) {
    Chunk* s_a = s_tiles + k0 / kDepth<S> % 2 * (A::kTileChunks + B::kTileChunks);
    Chunk* s_b = s_a + A::kTileChunks;
    A::store(s_a, r_next_a);
    B::store(s_b, r_next_b);
    // The step's tiles are complete; and every thread has read those of the step before, which the
    // next step overwrites.
    __syncthreads();
    if (k0 + kDepth<S> < depth) {
      A::template fetch<kWhole>(r_next_a, a, k0 + kDepth<S>, depth);
      B::template fetch<kWhole>(r_next_b, b, k0 + kDepth<S>, depth);
    }
    if (is_used) multiply<S, Left, Right>(r_sums, s_a, s_b, warp);
  }
}

// Of out: where the warp's part begins, what out has, and whether two neighbours may be stored at
// once.
struct OutPlace {
  int row0, column0, rows, columns;
  bool in_pairs;
  // Whether the warp has something to store; the same for all its lanes.
  SIMT_DEVICE bool is_used() const { return row0 < rows && column0 < columns; }
};

// r_sums += what out [rows,columns] holds.
template <class Out>
SIMT_DEVICE void add_held(WarpSums& r_sums, const Out* __restrict__ g_out, const OutPlace& out,
                          int lane) {
  SIMT_UNROLL for (int r = 0; r < kRowTiles; ++r) {
    SIMT_UNROLL for (int c = 0; c < kColumnTiles; ++c) {
      SIMT_UNROLL for (int i = 0; i < 4; ++i) {
        const simt::MmaPlace at = simt::mma_d_place(lane, i);
        const int row = out.row0 + 16 * r + at.row, column = out.column0 + 8 * c + at.column;
        if (row >= out.rows || column >= out.columns) continue;
        r_sums[r][c].value[i] += simt::to_accum(g_out[int64_t{row} * out.columns + column]);
      }
    }
  }
}

template <class Out>
SIMT_DEVICE void store(Out* __restrict__ g_out, const WarpSums& r_sums, const OutPlace& out,
                       int lane) {
  SIMT_UNROLL for (int c = 0; c < kColumnTiles; ++c) {
    const int column = out.column0 + 8 * c + simt::mma_d_place(lane, 0).column;
    if (column >= out.columns) continue;
    SIMT_UNROLL for (int r = 0; r < kRowTiles; ++r) {
      SIMT_UNROLL for (int i = 0; i < 4; i += 2) {
        const int row = out.row0 + 16 * r + simt::mma_d_place(lane, i).row;
        if (row >= out.rows) continue;
        Out* g_to = g_out + int64_t{row} * out.columns + column;
        const simt::Pair<Out> values{static_cast<Out>(r_sums[r][c].value[i]),
                                     static_cast<Out>(r_sums[r][c].value[i + 1])};
        if (out.in_pairs) {
          simt::store_as(g_to, values);
        } else {
          g_to[0] = values.even;
          if (column + 1 < out.columns) g_to[1] = values.odd;
        }
      }
    }
  }
}

// Whether a matrix and what lies `steps` elements apart in it are whole chunks, and aligned.
template <class S>
bool in_chunks(const S* first, std::initializer_list<int64_t> steps) {
  bool all = simt::is_aligned(first, sizeof(Chunk));
  for (const int64_t step : steps) all = all && step % kPerChunk<S> == 0;
  return all;
}

}  // namespace gemm_tile

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
