// A 64 x 64 tile of a gemm out = a b without tensor cores, out[i,j] = sum_k a[i,k] * b[k,j]: what
// gemm_tiled.cu and gemm_backward_tiled.cu share. A block of 128 threads has the tile, a thread
// 4 x 8 elements of it.
//
// Factors are stored as S and read as F (read_as), each as a row-major matrix whose rows run along
// k (inner depth) or across it (outer depth). A step of 32 along k passes through shared memory.
// Each sum is one chain in accum_t<S>, k ascending.
#pragma once

#include "cuda_impl/kernels/gemm/gemm_variants.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Of the gemms' blocks; apart from the tiles of tensor cores and of attention.
namespace gemm_scalar_tile {

inline constexpr int kTile = 64;           // rows, and columns, of out per block
inline constexpr int kDepth = 32;          // of k per step
inline constexpr int kStride = kTile + 4;  // spreads transposed stores over banks
inline constexpr int kRows = 4;            // of out per thread
inline constexpr int kHalf = 4;            // columns per thread: kHalf in each half of the tile
inline constexpr int kColumns = 2 * kHalf;
inline constexpr int kThreadsX = kTile / kColumns;
inline constexpr int kThreads = kThreadsX * kTile / kRows;
inline constexpr int kShared = kDepth * kStride;  // elements of a factor's shared tile

// A thread's part of out.
template <class A>
using Sums = A[kRows][kColumns];

// A factor from the block's first row of a, or column of b, on.
template <class S>
struct Factor {
  const S* g_first;
  int64_t stride;  // elements from row to row of the matrix
  int extent;      // rows of a, or columns of b, from there to the end

  // Of a matrix [extent,depth] from row `first` on, and of one [depth,extent] from that column on.
  static SIMT_DEVICE Factor inner(const S* g_matrix, int64_t stride, int first, int extent) {
    return {g_matrix + first * stride, stride, extent - first};
  }
  static SIMT_DEVICE Factor outer(const S* g_matrix, int64_t stride, int first, int extent) {
    return {g_matrix + first, stride, extent - first};
  }
};

// s_tile[k][i] = element (i, k0 + k) of a factor [extent,depth]; i past the end as zeros (their
// results are not stored), k past the end is never read.
template <class F, class S>
SIMT_DEVICE void load_inner(accum_t<S>* s_tile, const S* __restrict__ g_first, int64_t stride,
                            int extent, int k0, int depth) {
  for (int e = static_cast<int>(threadIdx.x); e < kTile * kDepth; e += kThreads) {
    const int i = e / kDepth, k = e % kDepth;
    if (k0 + k >= depth) continue;
    s_tile[k * kStride + i] = i < extent ? read_as<F>(g_first[i * stride + k0 + k]) : accum_t<S>(0);
  }
}

// The same of element (k0 + k, i) of a factor [depth,extent].
template <class F, class S>
SIMT_DEVICE void load_outer(accum_t<S>* s_tile, const S* __restrict__ g_first, int64_t stride,
                            int extent, int k0, int depth) {
  for (int e = static_cast<int>(threadIdx.x); e < kTile * kDepth; e += kThreads) {
    const int k = e / kTile, i = e % kTile;
    if (k0 + k >= depth) continue;
    s_tile[k * kStride + i] =
        i < extent ? read_as<F>(g_first[(k0 + k) * stride + i]) : accum_t<S>(0);
  }
}

template <class F, bool kOuterDepth, class S>
SIMT_DEVICE void load(accum_t<S>* s_tile, const Factor<S>& factor, int k0, int depth) {
  if constexpr (kOuterDepth) {
    load_outer<F>(s_tile, factor.g_first, factor.stride, factor.extent, k0, depth);
  } else {
    load_inner<F>(s_tile, factor.g_first, factor.stride, factor.extent, k0, depth);
  }
}

// Where the thread's rows and columns of the tile begin. Column c of its kColumns is column_of(c).
struct ThreadPlace {
  int row, column;
  static SIMT_DEVICE ThreadPlace of_thread() {
    const int thread = static_cast<int>(threadIdx.x);
    return {thread / kThreadsX * kRows, thread % kThreadsX * kHalf};
  }
  SIMT_DEVICE int column_of(int c) const { return column + c % kHalf + c / kHalf * (kTile / 2); }
};

// r_sums += the thread's part of a b, steps of k ascending. s_a, s_b: kShared elements each.
// Outer: whether the matrices of a and b have depth across their rows.
template <class F, bool kOuterA, bool kOuterB, class S>
SIMT_DEVICE void add_gemm(Sums<accum_t<S>>& r_sums, accum_t<S>* s_a, accum_t<S>* s_b,
                          const Factor<S>& a, const Factor<S>& b, int depth,
                          const ThreadPlace& thread) {
  using A = accum_t<S>;
  for (int k0 = 0; k0 < depth; k0 += kDepth) {
    load<F, kOuterA>(s_a, a, k0, depth);
    load<F, kOuterB>(s_b, b, k0, depth);
    __syncthreads();  // both tiles are complete
    const int steps = depth - k0 < kDepth ? depth - k0 : kDepth;
    for (int k = 0; k < steps; ++k) {
      const A* s_rows = s_a + k * kStride + thread.row;
      const A* s_columns = s_b + k * kStride + thread.column;
      A r_b[kColumns];
      SIMT_UNROLL for (int c = 0; c < kHalf; ++c) {
        r_b[c] = s_columns[c];
        r_b[kHalf + c] = s_columns[kTile / 2 + c];
      }
      SIMT_UNROLL for (int r = 0; r < kRows; ++r) {
        SIMT_UNROLL for (int c = 0; c < kColumns; ++c) r_sums[r][c] += s_rows[r] * r_b[c];
      }
    }
    __syncthreads();  // every thread has read the tiles: the next step may overwrite them
  }
}

}  // namespace gemm_scalar_tile

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
