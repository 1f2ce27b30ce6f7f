// What attention on tensor cores shares, forward and backward: tiles of vectors of kDh numbers in
// shared memory, and the products that simt::mma forms of them.
//
// A tile holds its vectors as they are, [vector][d], or turned, [d][vector]; two neighbours of S
// share a 32-bit word. A block has four warps, each with 16 rows (vectors of a tile of kMmaRows, or
// their sums); what a warp forms of them, columns 8j .. in tile j, lies in its registers as
// fragments d of simt::mma.
#pragma once

#include "cuda_impl/kernels/tiles/window.h"
#include "cuda_impl/simt/chunk.h"
#include "cuda_impl/simt/mma.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

using simt::Chunk;
using simt::MmaD;

inline constexpr int kMmaWarps = 4;
inline constexpr int kMmaThreads = 32 * kMmaWarps;
inline constexpr int kMmaRows = 16 * kMmaWarps;   // per block
inline constexpr int kPerChunk = 8;               // elements
inline constexpr int kBlockKeys = 64;             // of a forward pass, per step
inline constexpr int kKeyTiles = kBlockKeys / 8;  // the same in tiles of mma

// From row to row of a tile, in words: the 32 words of a fragment's load fall on 32 different
// banks.
SIMT_HD constexpr int row_stride(int Dh) { return Dh / 2 + 4; }
SIMT_HD constexpr int turned_stride(int vectors) { return vectors / 2 + 4; }

// The takes of a tile, and of a turned one, in words.
SIMT_HD constexpr std::size_t row_words(int vectors, int Dh) {
  return static_cast<std::size_t>(vectors * row_stride(Dh));
}
SIMT_HD constexpr std::size_t turned_words(int vectors, int Dh) {
  return static_cast<std::size_t>(Dh * turned_stride(vectors));
}

// s_rows[n] = the vector at g_vector(n), the first `count` of them; zeros past those.
template <int kDh, class S, class Vector>
SIMT_DEVICE void load_rows_of(uint32_t* s_rows, int vectors, const Vector& g_vector, int count) {
  constexpr int kChunks = kDh / kPerChunk;
  for (int i = static_cast<int>(threadIdx.x); i < vectors * kChunks; i += kMmaThreads) {
    const int n = i / kChunks, chunk = i % kChunks;
    simt::store_as(s_rows + n * row_stride(kDh) + 4 * chunk,
                   n < count ? simt::load_chunk<S>(g_vector(n) + chunk * kPerChunk) : Chunk{});
  }
}

// Of vectors that lie `stride` elements apart.
template <int kDh, class S>
SIMT_DEVICE void load_rows(uint32_t* s_rows, int vectors, const S* g_first, int64_t stride,
                           int count) {
  const auto vector = [&](int n) { return g_first + n * stride; };
  load_rows_of<kDh, S>(s_rows, vectors, vector, count);
}

// s_turned[d][n] = the vector at g_vector(n); zeros for those past `count` and, unless
// g_padding_mask is null, where g_padding_mask[n] is 0. A lane has two vectors, so that
// neighbouring lanes write neighbouring words.
template <int kDh, int kVectors, class S, class Vector>
SIMT_DEVICE void load_turned_of(uint32_t* s_turned, const Vector& g_vector,
                                const uint8_t* g_padding_mask, int count) {
  constexpr int kPairs = kVectors / 2;
  for (int i = static_cast<int>(threadIdx.x); i < kPairs * (kDh / kPerChunk); i += kMmaThreads) {
    const int pair = i % kPairs, d = i / kPairs * kPerChunk;
    const auto chunk = [&](int n) {
      const bool is_there = n < count && (g_padding_mask == nullptr || g_padding_mask[n] != 0);
      return is_there ? simt::load_chunk<S>(g_vector(n) + d) : Chunk{};
    };
    const Chunk even = chunk(2 * pair), odd = chunk(2 * pair + 1);
    SIMT_UNROLL for (int e = 0; e < kPerChunk; ++e) {
      const int shift = 16 * (e % 2);
      s_turned[(d + e) * turned_stride(kVectors) + pair] =
          (even.word[e / 2] >> shift & 0xffffu) | odd.word[e / 2] >> shift << 16;
    }
  }
}

template <int kDh, int kVectors, class S>
SIMT_DEVICE void load_turned(uint32_t* s_turned, const S* g_first, int64_t stride,
                             const uint8_t* g_padding_mask, int count) {
  const auto vector = [&](int n) { return g_first + n * stride; };
  load_turned_of<kDh, kVectors, S>(s_turned, vector, g_padding_mask, count);
}

// r_product[j] += (16 vectors from s_rows on) . (8 vectors from 8j of s_columns on)
template <class S, int kDh, int kTiles>
SIMT_DEVICE void add_products(MmaD (&r_product)[kTiles], const uint32_t* s_rows,
                              const uint32_t* s_columns, int lane) {
  SIMT_UNROLL for (int d = 0; d < kDh; d += 16) {
    const auto rows = simt::load_mma_a<S>(s_rows + d / 2, row_stride(kDh), lane);
    SIMT_UNROLL for (int j = 0; j < kTiles; ++j) {
      const uint32_t* s_tile = s_columns + 8 * j * row_stride(kDh) + d / 2;
      simt::mma(r_product[j], rows, simt::load_mma_b<S>(s_tile, row_stride(kDh), lane));
    }
  }
}

// r_sum[c] += S(r_weights) (the 8 kTiles vectors of s_turned at d = 8c ..)
template <class S, int kDh, int kTiles>
SIMT_DEVICE void add_weighted(MmaD (&r_sum)[kDh / 8], const MmaD (&r_weights)[kTiles],
                              const uint32_t* s_turned, int lane) {
  constexpr int kStride = turned_stride(8 * kTiles);
  SIMT_UNROLL for (int j = 0; j < kTiles; j += 2) {
    const auto weights = simt::mma_a_of<S>(r_weights[j], r_weights[j + 1]);
    SIMT_UNROLL for (int c = 0; c < kDh / 8; ++c) {
      const uint32_t* s_tile = s_turned + 8 * c * kStride + 4 * j;
      simt::mma(r_sum[c], weights, simt::load_mma_b<S>(s_tile, kStride, lane));
    }
  }
}

// Rows are queries from position0 on, columns keys from key0 on. Bit 4j + i: element i of tile j is
// visible. s_padding_mask: of the keys, false past the last.
template <int kTiles>
SIMT_DEVICE unsigned visible_keys(const int* s_padding_mask, const Window& window, int key0,
                                  int position0, int lane) {
  static_assert(4 * kTiles <= 32);
  unsigned visible = 0;
  SIMT_UNROLL for (int j = 0; j < kTiles; ++j) {
    SIMT_UNROLL for (int i = 0; i < 4; ++i) {
      const simt::MmaPlace at = simt::mma_d_place(lane, i);
      const int s = 8 * j + at.column;
      const bool is_visible = s_padding_mask[s] != 0 && window.sees(position0 + at.row, key0 + s);
      visible |= static_cast<unsigned>(is_visible) << (4 * j + i);
    }
  }
  return visible;
}

// The lane's part of its row r of two, each sum as rounded(sum) gives it; g_row is where the part
// begins.
template <int kDh, class S, class Rounded>
SIMT_DEVICE void store_row(S* g_row, int r, const MmaD (&r_sum)[kDh / 8], bool in_pairs,
                           const Rounded& rounded) {
  SIMT_UNROLL for (int c = 0; c < kDh / 8; ++c) {
    const float* sums = r_sum[c].value + 2 * r;
    const simt::Pair<S> values{rounded(sums[0]), rounded(sums[1])};
    if (in_pairs) {
      simt::store_as(g_row + 8 * c, values);
    } else {
      g_row[8 * c] = values.even;
      g_row[8 * c + 1] = values.odd;
    }
  }
}

// Whether two neighbours of contexts in this layout may be stored at once.
template <class S>
bool in_pairs_of(const View<S, 3>& context, const ReplayLayout<float>& layout) {
  return simt::is_aligned(context.data, sizeof(simt::Pair<S>)) && layout.context % 2 == 0 &&
         layout.context_row % 2 == 0;
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
