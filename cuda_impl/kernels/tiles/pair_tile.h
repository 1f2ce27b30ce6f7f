// Two sets of 32 vectors of Dh numbers in shared memory, and what attention_backward.cu forms of
// them: the products of all pairs, and weighted sums of one set.
//
// The rows are shared out among the warps, the columns among the lanes: warp w owns the rows
// [kOwnRows*w, kOwnRows*(w+1)), a lane has one column. With queries as rows and keys as columns the
// sums are dq, the other way round dk and dv.
// Longest addition chain Dh for a product, 32 for a sum, both ascending.
#pragma once

#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

inline constexpr int kSide = 32;  // queries, and keys, of a tile
inline constexpr int kTileWarps = 4;
inline constexpr int kOwnRows = kSide / kTileWarps;  // rows of the tile per warp
inline constexpr int kTileThreads = 32 * kTileWarps;
inline constexpr int kRowStride = kSide + 4;  // of the transposed rows: spreads the stores
inline constexpr int kColumnGroups = kMaxHeadSize / 32;    // of d per lane: lane, lane + 32, ..
inline constexpr int kWeights = kSide * kOwnRows;          // per warp: [column][own row]
inline constexpr int kAllWeights = kTileWarps * kWeights;  // per block
inline constexpr unsigned kAllVisible = (1u << kOwnRows) - 1;

// 32 rows of a [T,Dh] array that lie `stride` apart, from the one at `g_first` on.
template <class S>
struct Rows {
  const S* g_first;
  int64_t stride;

  SIMT_DEVICE const S* at(int i) const { return g_first + i * stride; }
};

// The vectors of one tile.
template <class S>
struct PairTile {
  using A = accum_t<S>;
  A* s_rows;     // [Dh][kRowStride], transposed
  A* s_columns;  // [kSide][Dh+1]
  int Dh;

  SIMT_DEVICE PairTile(simt::Smem& smem, int head_size)
      : s_rows(smem.take<A>(std::size_t(head_size) * kRowStride)),
        s_columns(smem.take<A>(std::size_t(kSide) * (head_size + 1))),
        Dh(head_size) {}

  // Vectors past the counts read as zeros. Without rows (null) the rows keep what they hold.
  // columns: Rows, or another that says where vector i begins.
  template <class Columns = Rows<S>>
  SIMT_DEVICE void load(const Rows<S>& rows, int row_count, const Columns& columns,
                        int column_count) const {
    __syncthreads();  // every thread has read the tile before
    for (int i = static_cast<int>(threadIdx.x); i < kSide * Dh; i += kTileThreads) {
      const int vector = i / Dh, d = i % Dh;
      if (rows.g_first != nullptr) {
        s_rows[d * kRowStride + vector] =
            vector < row_count ? simt::to_accum(rows.at(vector)[d]) : A(0);
      }
      s_columns[vector * (Dh + 1) + d] =
          vector < column_count ? simt::to_accum(columns.at(vector)[d]) : A(0);
    }
    __syncthreads();  // the tile, and what the warps wrote beside it before, is complete
  }

  // r_dot[r] = own row r . this lane's column
  SIMT_DEVICE void dot(A (&r_dot)[kOwnRows]) const {
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    const A *s_own = s_rows + warp * kOwnRows, *s_column = s_columns + lane * (Dh + 1);
    SIMT_UNROLL for (int r = 0; r < kOwnRows; ++r) r_dot[r] = A(0);
    for (int d = 0; d < Dh; ++d) {
      const A column = s_column[d];
      SIMT_UNROLL for (int r = 0; r < kOwnRows; ++r) r_dot[r] += s_own[d * kRowStride + r] * column;
    }
  }

  // r_sum[g][r] += sum_c s_weights[c][r] * column c at d = lane + 32 g, c ascending. Weights of 0
  // are left out, unless `dense`.
  SIMT_DEVICE void add_weighted(A (&r_sum)[kColumnGroups][kOwnRows], const A* s_weights,
                                bool dense) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    for (int c = 0; c < kSide; ++c) {
      const A *s_row = s_weights + c * kOwnRows, *s_column = s_columns + c * (Dh + 1);
      SIMT_UNROLL for (int g = 0; g < kColumnGroups; ++g) {
        const int d = lane + 32 * g;
        if (d >= Dh) continue;
        const A value = s_column[d];
        if (dense) {
          SIMT_UNROLL for (int r = 0; r < kOwnRows; ++r) r_sum[g][r] += s_row[r] * value;
        } else {
          SIMT_UNROLL for (int r = 0; r < kOwnRows; ++r) {
            if (s_row[r] != A(0)) r_sum[g][r] += s_row[r] * value;
          }
        }
      }
    }
  }
};

template <class S>
simt::SmemSize tile_smem(int64_t Dh) {
  using A = accum_t<S>;
  return simt::SmemSize{}
      .template add<A>(static_cast<std::size_t>(Dh * kRowStride))
      .template add<A>(static_cast<std::size_t>(kSide * (Dh + 1)));
}

// g_out[row,d] = r_sum (+ g_out[row,d] if kAdd) for the warp's own rows of an array [rows,Dh].
template <bool kAdd, class A>
SIMT_DEVICE void store(A* g_out, const A (&r_sum)[kColumnGroups][kOwnRows], int rows, int Dh) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int first = static_cast<int>(threadIdx.x) / 32 * kOwnRows;
  SIMT_UNROLL for (int r = 0; r < kOwnRows; ++r) {
    SIMT_UNROLL for (int g = 0; g < kColumnGroups; ++g) {
      const int d = lane + 32 * g;
      if (first + r >= rows || d >= Dh) continue;
      A& out = g_out[int64_t{first + r} * Dh + d];
      out = kAdd ? out + r_sum[g][r] : r_sum[g][r];
    }
  }
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
