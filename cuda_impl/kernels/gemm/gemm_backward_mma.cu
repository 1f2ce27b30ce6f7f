// gemm_nn_mma, gemm_tn_mma: gemm_nn_tiled and gemm_tn_tiled on tensor cores.
//   nn  dx[n,k] = sum_m dy[n,m] * w[m,k]
//   tn  dw[m,k] = sum_n dy[n,m] * x[n,k]
//
//   dy  [N,M], w [M,K], x [N,K]  row-major, stored as S: bf16, f16, or float, which is read as tf32
//   dx  [N,K]  stored as Out (S or float); dw [M,K] stored as float
// Layouts: BackwardLayout of backward.h.
// Products and sums are float: simt::mma over steps of 32 bytes along the summed index ascending;
// with `accumulate` a sum is then added to what the output holds. The only rounding to Out is the
// final store. On the host each sum is one chain in float, ascending, the bits of the tiled
// variants; a tensor core adds in an order of its own (simt/mma.h).
// The summed index runs across the rows of w, of x, and of dy in tn: their words, of which each
// holds two neighbours along it, are put together on the way into shared memory (OuterDepth).
// Launch: one block of 8 warps per 128 x 128 tile of each output, a warp per 64 x 32
// (gemm_tile.h). Any N, M, K >= 1. No scratch memory.
// Elements are fetched 16 bytes at a time where all rows of dy and of the factor are whole 16-byte
// pieces at multiples of 16 bytes, one at a time otherwise, with the same result.
// At most 128 registers, no spills, 37888 (nn) and 34816 (tn) bytes of shared memory: two blocks
// per SM.
// (nvcc 13.0, sm_80 and sm_90; its time on a GPU is not measured.)
// Longest addition chain M for dx, N for dw, and 1 to accumulate.
// CPU counterpart: reference/ops/linear.cpp
#include "cuda_impl/kernels/gemm/gemm_backward_variants.h"
#include "cuda_impl/kernels/tiles/gemm_tile.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

using namespace gemm_tile;

// out [rows,columns] = a b with b = the factor [depth,columns]; Left is InnerDepth where dy is
// a [rows,depth], and OuterDepth where it is its transpose [depth,rows].
template <class S, class Out, template <class> class Left, bool kWhole>
__global__ void __launch_bounds__(kThreads, 2)
    gemm_backward_mma_kernel(Out* __restrict__ g_out, const S* __restrict__ g_dy,
                             const S* __restrict__ g_factor, int rows, int columns, int depth,
                             int dy_row, BackwardStrides strides, bool accumulate, bool in_pairs) {
  SIMT_SHARED(Chunk, s_tiles, (kSharedChunks<S, Left, OuterDepth>));
  const WarpPlace warp = WarpPlace::of_thread();
  const int row0 = static_cast<int>(blockIdx.y) * kTile;
  const int column0 = static_cast<int>(blockIdx.x) * kTile;
  const OutPlace out{row0 + warp.row, column0 + warp.column, rows, columns, in_pairs};

  const int64_t j = blockIdx.z;
  g_out += j * strides.out;
  g_dy += j * strides.dy;
  g_factor += j * strides.factor;

  WarpSums r_out = {};
  const Factor<S> dy = Left<S>::from(g_dy, dy_row, row0, rows);
  const Factor<S> factor = OuterDepth<S>::from(g_factor, strides.factor_row, column0, columns);
  add_gemm<S, Left, OuterDepth, kWhole>(r_out, s_tiles, dy, factor, depth, warp, out.is_used());
  if (!out.is_used()) return;
  if (accumulate) add_held(r_out, g_out, out, warp.lane);
  store(g_out, r_out, out, warp.lane);
}

template <class S, class Out, template <class> class Left>
void launch_kernel(const char* kernel, View<Out, 2> out, In<S, 2> dy, In<S, 2> factor,
                   bool accumulate, const BackwardLayout& layout, Stream stream) {
  const auto [rows, columns] = out.shape;
  const int64_t dy_row = dy.shape[1];
  const BackwardStrides strides = strides_of(layout, columns);
  const bool whole = in_chunks(dy.data, {dy_row, strides.dy}) &&
                     in_chunks(factor.data, {columns, strides.factor_row, strides.factor});
  const bool in_pairs = columns % 2 == 0 && strides.out % 2 == 0 &&
                        simt::is_aligned(out.data, sizeof(simt::Pair<Out>));
  simt::launch(LaunchName(kernel, out.shape).text,
               whole ? gemm_backward_mma_kernel<S, Out, Left, true>
                     : gemm_backward_mma_kernel<S, Out, Left, false>,
               dim3(blocks_for(columns, kTile), blocks_for(rows, kTile),
                    static_cast<unsigned>(layout.count)),
               dim3(kThreads), 0, stream, out.data, dy.data, factor.data, rows, columns,
               factor.shape[0], dy_row, strides, accumulate, in_pairs);
}

}  // namespace

template <class S, class Out>
void gemm_nn_mma(View<Out, 2> dx, In<S, 2> dy, In<S, 2> w, bool accumulate, Stream stream,
                 const BackwardLayout& layout) {
  check_gemm_nn<S>("gemm_nn_mma", dx, dy, w, layout, kTile);
  launch_kernel<S, Out, InnerDepth>("gemm_nn_mma", dx, dy, w, accumulate, layout, stream);
}

template <class S>
void gemm_tn_mma(View<float, 2> dw, In<S, 2> dy, In<S, 2> x, bool accumulate, Stream stream,
                 const BackwardLayout& layout) {
  check_gemm_tn<S>("gemm_tn_mma", dw, dy, x, layout, kTile);
  launch_kernel<S, float, OuterDepth>("gemm_tn_mma", dw, dy, x, accumulate, layout, stream);
}

#define ASSAY_INSTANTIATE_NN(S, Out)                                           \
  template void gemm_nn_mma<S>(View<Out, 2>, In<S, 2>, In<S, 2>, bool, Stream, \
                               const BackwardLayout&);
#define ASSAY_INSTANTIATE(S)                                                     \
  ASSAY_INSTANTIATE_NN(S, S)                                                     \
  template void gemm_tn_mma<S>(View<float, 2>, In<S, 2>, In<S, 2>, bool, Stream, \
                               const BackwardLayout&);
#define ASSAY_INSTANTIATE_WIDE(S) ASSAY_INSTANTIATE_NN(S, float)
ASSAY_FOR_NARROW_TYPES(ASSAY_INSTANTIATE)
ASSAY_FOR_NARROW_TYPES(ASSAY_INSTANTIATE_WIDE)
ASSAY_FOR_TYPES_READ_AS_TF32(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE_WIDE
#undef ASSAY_INSTANTIATE
#undef ASSAY_INSTANTIATE_NN

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
