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
#include "cuda_impl/kernels/gemm/gemm_scalar_tile.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

using namespace gemm_scalar_tile;

// Of blocks per SM, among which its registers are shared out.
template <class S>
constexpr int kBlocks = std::is_same_v<S, double> ? 3 : 5;

template <class S, class F, class Out>
__global__ void __launch_bounds__(kThreads, kBlocks<S>)
    gemm_tiled_kernel(Out* __restrict__ g_y, const S* __restrict__ g_x, const S* __restrict__ g_w,
                      const S* __restrict__ g_bias, int N, int M, int K, GemmStrides strides,
                      bool accumulate) {
  using A = accum_t<S>;
  SIMT_SHARED(A, s_x, kShared);  // [k][row]
  SIMT_SHARED(A, s_w, kShared);  // [k][column]
  const ThreadPlace thread = ThreadPlace::of_thread();
  const int row0 = static_cast<int>(blockIdx.y) * kTile;
  const int column0 = static_cast<int>(blockIdx.x) * kTile;

  const int64_t j = blockIdx.z;
  g_y += j * strides.y;
  g_x += j * strides.x;
  g_w += j * strides.w;
  if (g_bias != nullptr) g_bias += j * strides.bias;

  Sums<A> r_y = {};
  if constexpr (std::is_same_v<Out, A>) {
    SIMT_UNROLL for (int r = 0; r < kRows; ++r) {
      SIMT_UNROLL for (int c = 0; c < kColumns; ++c) {
        const int row = row0 + thread.row + r, column = column0 + thread.column_of(c);
        if (accumulate && row < N && column < M) r_y[r][c] = g_y[int64_t{row} * M + column];
      }
    }
  }
  add_gemm<F, false, false>(r_y, s_x, s_w, Factor<S>::inner(g_x, K, row0, N),
                            Factor<S>::inner(g_w, strides.w_row, column0, M), K, thread);

  for (int r = 0; r < kRows; ++r) {
    const int row = row0 + thread.row + r;
    if (row >= N) break;
    for (int c = 0; c < kColumns; ++c) {
      const int column = column0 + thread.column_of(c);
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
