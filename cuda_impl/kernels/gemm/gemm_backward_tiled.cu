// gemm_nn_tiled, gemm_tn_tiled: backward of y [N,M] = x [N,K] w [M,K]^T, in two gemms:
//   nn  dx[n,k] = sum_m dy[n,m] * w[m,k]
//   tn  dw[m,k] = sum_n dy[n,m] * x[n,k]
//
//   dy  [N,M], w [M,K], x [N,K]  row-major, stored as S and read as F: S itself, or tf32 where S
//       is float
//   dx  [N,K]  stored as Out (S or accum_t<S>); dw [M,K] stored as accum_t<S>
// Layouts: BackwardLayout of backward.h.
// Each sum is one chain in accum_t<S>, ascending; with `accumulate` it is added to what the output
// holds. The only rounding to Out is the final store.
// Launch: one block per 64 x 64 tile of each output, 128 threads of 4 x 8 elements each. Any
// N, M, K >= 1. No scratch memory.
// Longest addition chain M for dx, N for dw, and 1 to accumulate.
// CPU counterpart: reference/ops/linear.cpp
#include "cuda_impl/kernels/gemm/gemm_backward_variants.h"
#include "cuda_impl/kernels/gemm/gemm_scalar_tile.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

using namespace gemm_scalar_tile;

// Of blocks per SM, among which its registers are shared out.
template <class S, bool kTransposed>
constexpr int kBlocks = (std::is_same_v<S, double> ? 3 : 7) + (kTransposed ? 1 : 0);

// g_out [rows,columns] = a b with b [depth,columns], and a stored as [depth,rows] if kTransposed,
// else as [rows,depth].
template <class S, class F, class Out, bool kTransposed>
__global__ void __launch_bounds__(kThreads, kBlocks<S, kTransposed>)
    gemm_backward_tiled_kernel(Out* __restrict__ g_out, const S* __restrict__ g_a,
                               const S* __restrict__ g_b, int rows, int columns, int depth,
                               BackwardStrides strides, bool accumulate) {
  using A = accum_t<S>;
  SIMT_SHARED(A, s_a, kShared);  // [k][row]
  SIMT_SHARED(A, s_b, kShared);  // [k][column]
  const ThreadPlace thread = ThreadPlace::of_thread();
  const int row0 = static_cast<int>(blockIdx.y) * kTile;
  const int column0 = static_cast<int>(blockIdx.x) * kTile;

  const int64_t j = blockIdx.z;
  g_out += j * strides.out;
  g_a += j * strides.dy;
  g_b += j * strides.factor;

  Sums<A> r_out = {};
  const auto a = kTransposed ? Factor<S>::outer(g_a, rows, row0, rows)
                             : Factor<S>::inner(g_a, depth, row0, rows);
  const auto b = Factor<S>::outer(g_b, strides.factor_row, column0, columns);
  add_gemm<F, kTransposed, true>(r_out, s_a, s_b, a, b, depth, thread);

  for (int r = 0; r < kRows; ++r) {
    const int row = row0 + thread.row + r;
    if (row >= rows) break;
    for (int c = 0; c < kColumns; ++c) {
      const int column = column0 + thread.column_of(c);
      if (column >= columns) continue;
      Out& out = g_out[int64_t{row} * columns + column];
      out = static_cast<Out>(accumulate ? static_cast<A>(out) + r_out[r][c] : r_out[r][c]);
    }
  }
}

template <class S, class F, class Out, bool kTransposed>
void launch_kernel(const char* kernel, View<Out, 2> out, In<S, 2> dy, In<S, 2> factor,
                   bool accumulate, const BackwardLayout& layout, Stream stream) {
  const auto [rows, columns] = out.shape;
  simt::launch(LaunchName(kernel, out.shape).text,
               gemm_backward_tiled_kernel<S, F, Out, kTransposed>,
               dim3(blocks_for(columns, kTile), blocks_for(rows, kTile),
                    static_cast<unsigned>(layout.count)),
               dim3(kThreads), 0, stream, out.data, dy.data, factor.data, rows, columns,
               factor.shape[0], strides_of(layout, columns), accumulate);
}

}  // namespace

template <class S, class F, class Out>
void gemm_nn_tiled(View<Out, 2> dx, In<S, 2> dy, In<S, 2> w, bool accumulate, Stream stream,
                   const BackwardLayout& layout) {
  check_gemm_nn<S>("gemm_nn_tiled", dx, dy, w, layout, kTile);
  launch_kernel<S, F, Out, false>("gemm_nn_tiled", dx, dy, w, accumulate, layout, stream);
}

template <class S, class F>
void gemm_tn_tiled(View<accum_t<S>, 2> dw, In<S, 2> dy, In<S, 2> x, bool accumulate, Stream stream,
                   const BackwardLayout& layout) {
  check_gemm_tn<S>("gemm_tn_tiled", dw, dy, x, layout, kTile);
  launch_kernel<S, F, accum_t<S>, true>("gemm_tn_tiled", dw, dy, x, accumulate, layout, stream);
}

#define ASSAY_INSTANTIATE_NN(S, F, Out)                                             \
  template void gemm_nn_tiled<S, F>(View<Out, 2>, In<S, 2>, In<S, 2>, bool, Stream, \
                                    const BackwardLayout&);
#define ASSAY_INSTANTIATE_TN(S, F)                                                         \
  template void gemm_tn_tiled<S, F>(View<accum_t<S>, 2>, In<S, 2>, In<S, 2>, bool, Stream, \
                                    const BackwardLayout&);
#define ASSAY_INSTANTIATE(S)    \
  ASSAY_INSTANTIATE_NN(S, S, S) \
  ASSAY_INSTANTIATE_TN(S, S)
#define ASSAY_INSTANTIATE_WIDE(S) ASSAY_INSTANTIATE_NN(S, S, accum_t<S>)
#define ASSAY_INSTANTIATE_TF32(S)        \
  ASSAY_INSTANTIATE_NN(S, simt::tf32, S) \
  ASSAY_INSTANTIATE_TN(S, simt::tf32)
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
ASSAY_FOR_NARROW_TYPES(ASSAY_INSTANTIATE_WIDE)
ASSAY_FOR_TYPES_READ_AS_TF32(ASSAY_INSTANTIATE_TF32)
#undef ASSAY_INSTANTIATE_TF32
#undef ASSAY_INSTANTIATE_WIDE
#undef ASSAY_INSTANTIATE
#undef ASSAY_INSTANTIATE_TN
#undef ASSAY_INSTANTIATE_NN

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
