// gemm_tiled: a linear weight in its state-dict layout, y[n,m] = sum_k x[n,k] * w[m,k] + bias[m]
//
//   x  [N,K]  row-major, N = B*T, stored as S and read as F: S itself, or tf32 where S is float
//   w  [M,K]  row-major, likewise
//   bias [M]  stored as S, or null: none
//   y  [N,M]  row-major, stored as Out (S or accum_t<S>)
// Layouts: GemmLayout of kernels.h; with accumulate the chain starts from y.
// Each sum is one chain in accum_t<S>, k ascending, the bias last; the only rounding to Out is the
// final store.
// Launch: one block per 64 x 64 tile of y of each gemm, 128 threads of 4 x 8 elements each. Any N,
// M, K >= 1.
// Longest addition chain K + 1.
// CPU counterpart: reference/ops/linear.cpp
#include "cuda_impl/kernels/gemm/gemm_variants.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kTile = 64;           // rows, and columns, of y per block
constexpr int kDepth = 32;          // of k per step
constexpr int kStride = kTile + 4;  // of the transposed tiles: spreads the stores over banks
constexpr int kRows = 4;            // of y per thread
constexpr int kHalf = 4;            // columns per thread: kHalf in each half of the tile
constexpr int kThreadsX = kTile / (2 * kHalf);
constexpr int kThreads = kThreadsX * kTile / kRows;

// s_tile[k][row] = g_matrix[row0 + row, k0 + k], whose rows lie `stride` apart; rows past the end
// as zeros (their results are not stored).
template <class F, class S>
SIMT_DEVICE void load_transposed(accum_t<S>* s_tile, const S* __restrict__ g_matrix, int64_t stride,
                                 int row0, int rows, int k0, int K) {
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kDepth; i += kThreads) {
    const int row = i / kDepth, k = i % kDepth;
    if (k0 + k >= K) continue;  // never read
    s_tile[k * kStride + row] =
        row0 + row < rows ? read_as<F>(g_matrix[(row0 + row) * stride + k0 + k]) : accum_t<S>(0);
  }
}

// A thread's column c of its 2 * kHalf.
SIMT_DEVICE int column_of(int first, int c) { return first + c % kHalf + c / kHalf * (kTile / 2); }

template <class S, class F, class Out>
__global__ void __launch_bounds__(kThreads, 1)
    gemm_tiled_kernel(Out* __restrict__ g_y, const S* __restrict__ g_x, const S* __restrict__ g_w,
                      const S* __restrict__ g_bias, int N, int M, int K, GemmStrides strides,
                      bool accumulate) {
  using A = accum_t<S>;
  SIMT_SHARED(A, s_x, kDepth * kStride);  // [k][row]
  SIMT_SHARED(A, s_w, kDepth * kStride);  // [k][column]
  const int tid = static_cast<int>(threadIdx.x);
  const int tile_row = tid / kThreadsX * kRows, tile_column = tid % kThreadsX * kHalf;
  const int row0 = static_cast<int>(blockIdx.y) * kTile;
  const int column0 = static_cast<int>(blockIdx.x) * kTile;

  const int64_t j = blockIdx.z;
  g_y += j * strides.y;
  g_x += j * strides.x;
  g_w += j * strides.w;
  if (g_bias != nullptr) g_bias += j * strides.bias;

  A r_y[kRows][2 * kHalf] = {};
  if constexpr (std::is_same_v<Out, A>) {
    SIMT_UNROLL for (int r = 0; r < kRows; ++r) {
      SIMT_UNROLL for (int c = 0; c < 2 * kHalf; ++c) {
        const int row = row0 + tile_row + r, column = column_of(column0 + tile_column, c);
        if (accumulate && row < N && column < M) r_y[r][c] = g_y[int64_t{row} * M + column];
      }
    }
  }
  for (int k0 = 0; k0 < K; k0 += kDepth) {
    load_transposed<F>(s_x, g_x, K, row0, N, k0, K);
    load_transposed<F>(s_w, g_w, strides.w_row, column0, M, k0, K);
    __syncthreads();  // both tiles are complete
    const int depth = K - k0 < kDepth ? K - k0 : kDepth;
    for (int k = 0; k < depth; ++k) {
      const A* s_rows = s_x + k * kStride + tile_row;
      const A* s_columns = s_w + k * kStride + tile_column;
      A r_w[2 * kHalf];
      SIMT_UNROLL for (int c = 0; c < kHalf; ++c) {
        r_w[c] = s_columns[c];
        r_w[kHalf + c] = s_columns[kTile / 2 + c];
      }
      SIMT_UNROLL for (int r = 0; r < kRows; ++r) {
        SIMT_UNROLL for (int c = 0; c < 2 * kHalf; ++c) r_y[r][c] += s_rows[r] * r_w[c];
      }
    }
    __syncthreads();  // every thread has read the tiles: the next step may overwrite them
  }

  for (int r = 0; r < kRows; ++r) {
    const int row = row0 + tile_row + r;
    if (row >= N) break;
    for (int c = 0; c < 2 * kHalf; ++c) {
      const int column = column_of(column0 + tile_column, c);
      if (column >= M) continue;
      A value = r_y[r][c];
      if (g_bias != nullptr) value += simt::to_accum(g_bias[column]);
      g_y[int64_t{row} * M + column] = static_cast<Out>(value);
    }
  }
}

}  // namespace

template <class S, class F, class Out>
void gemm_tiled(View<Out, 2> y, In<S, 2> x, In<S, 2> w, In<S, 1> bias, Stream stream,
                const GemmLayout& layout) {
  check_gemm<S>("gemm_tiled", y, x, w, bias, layout, kTile);
  const auto [N, M] = y.shape;
  const int64_t K = x.shape[1];
  simt::launch(
      LaunchName("gemm_tiled", y.shape).text, gemm_tiled_kernel<S, F, Out>,
      dim3(blocks_for(M, kTile), blocks_for(N, kTile), static_cast<unsigned>(layout.count)),
      dim3(kThreads), 0, stream, y.data, x.data, w.data, bias.data, N, M, K, strides_of(layout, K),
      layout.accumulate);
}

#define ASSAY_INSTANTIATE(S) \
  template void gemm_tiled<S>(View<S, 2>, In<S, 2>, In<S, 2>, In<S, 1>, Stream, const GemmLayout&);
#define ASSAY_INSTANTIATE_WIDE(S)                                                        \
  template void gemm_tiled<S>(View<accum_t<S>, 2>, In<S, 2>, In<S, 2>, In<S, 1>, Stream, \
                              const GemmLayout&);
#define ASSAY_INSTANTIATE_TF32(S)                                                           \
  template void gemm_tiled<S, simt::tf32>(View<S, 2>, In<S, 2>, In<S, 2>, In<S, 1>, Stream, \
                                          const GemmLayout&);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
ASSAY_FOR_NARROW_TYPES(ASSAY_INSTANTIATE_WIDE)
ASSAY_FOR_TYPES_READ_AS_TF32(ASSAY_INSTANTIATE_TF32)
#undef ASSAY_INSTANTIATE_TF32
#undef ASSAY_INSTANTIATE_WIDE
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
