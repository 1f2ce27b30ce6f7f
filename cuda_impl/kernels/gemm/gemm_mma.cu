// gemm_mma: gemm_tiled on tensor cores.  y[n,m] = sum_k x[n,k] * w[m,k] + bias[m]
//
//   x  [N,K]  row-major, N = B*T, stored as S: bf16, f16, or float, which is read as tf32
//   w  [M,K]  row-major, stored as S
//   bias [M]  stored as S, or null: none
//   y  [N,M]  row-major, stored as Out (S or float)
// Layouts: GemmLayout of kernels.h; with accumulate the chain starts from y.
// Products and sums are float: simt::mma over steps of 32 bytes along k ascending, the bias last;
// the only rounding to Out is the final store. On the host each sum is one chain in float with k
// ascending, the bits of gemm_tiled; a tensor core adds in an order of its own (simt/mma.h).
// Launch: one block of 8 warps per 128 x 128 tile of y of each gemm, a warp per 64 x 32
// (gemm_tile.h). Any N, M, K >= 1.
// Elements are fetched 16 bytes at a time where all rows of x and w lie at multiples of 16 bytes,
// one at a time otherwise, with the same result.
// At most 128 registers, no spills, 40960 bytes of shared memory: two blocks per SM. (nvcc 13.0,
// sm_80 and sm_90; its time on a GPU is not measured.)
// Longest addition chain K + 1.
// CPU counterpart: reference/ops/linear.cpp
#include "cuda_impl/kernels/gemm/gemm_variants.h"
#include "cuda_impl/kernels/tiles/gemm_tile.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

using namespace gemm_tile;

// r_y += bias of its columns.
template <class S>
SIMT_DEVICE void add_bias(WarpSums& r_y, const S* __restrict__ g_bias, const OutPlace& y,
                          int lane) {
  SIMT_UNROLL for (int c = 0; c < kColumnTiles; ++c) {
    SIMT_UNROLL for (int i = 0; i < 2; ++i) {
      const int column = y.column0 + 8 * c + simt::mma_d_place(lane, i).column;
      if (column >= y.columns) continue;
      const float bias = simt::to_accum(g_bias[column]);
      SIMT_UNROLL for (int r = 0; r < kRowTiles; ++r) {
        r_y[r][c].value[i] += bias;
        r_y[r][c].value[i + 2] += bias;
      }
    }
  }
}

template <class S, class Out, bool kWhole>
__global__ void __launch_bounds__(kThreads, 2)
    gemm_mma_kernel(Out* __restrict__ g_y, const S* __restrict__ g_x, const S* __restrict__ g_w,
                    const S* __restrict__ g_bias, int N, int M, int K, GemmStrides strides,
                    bool accumulate, bool in_pairs) {
  SIMT_SHARED(Chunk, s_tiles, (kSharedChunks<S, InnerDepth, InnerDepth>));
  const WarpPlace warp = WarpPlace::of_thread();
  const int row0 = static_cast<int>(blockIdx.y) * kTile;
  const int column0 = static_cast<int>(blockIdx.x) * kTile;
  const OutPlace y{row0 + warp.row, column0 + warp.column, N, M, in_pairs};

  const int64_t j = blockIdx.z;
  g_y += j * strides.y;
  g_x += j * strides.x;
  g_w += j * strides.w;
  if (g_bias != nullptr) g_bias += j * strides.bias;

  WarpSums r_y = {};
  if constexpr (std::is_same_v<Out, float>) {
    if (accumulate && y.is_used()) add_held(r_y, g_y, y, warp.lane);
  }
  const Factor<S> x = InnerDepth<S>::from(g_x, K, row0, N);
  const Factor<S> w = InnerDepth<S>::from(g_w, strides.w_row, column0, M);
  add_gemm<S, InnerDepth, InnerDepth, kWhole>(r_y, s_tiles, x, w, K, warp, y.is_used());
  if (!y.is_used()) return;
  if (g_bias != nullptr) add_bias(r_y, g_bias, y, warp.lane);
  store(g_y, r_y, y, warp.lane);
}

}  // namespace

template <class S, class Out>
void gemm_mma(View<Out, 2> y, In<S, 2> x, In<S, 2> w, In<S, 1> bias, Stream stream,
              const GemmLayout& layout) {
  check_gemm<S>("gemm_mma", y, x, w, bias, layout, kTile);
  const auto [N, M] = y.shape;
  const int64_t K = x.shape[1];
  const GemmStrides strides = strides_of(layout, K);
  const bool whole =
      in_chunks(x.data, {K, strides.x}) && in_chunks(w.data, {K, strides.w_row, strides.w});
  const bool in_pairs =
      M % 2 == 0 && strides.y % 2 == 0 && simt::is_aligned(y.data, sizeof(simt::Pair<Out>));
  simt::launch(
      LaunchName("gemm_mma", y.shape).text,
      whole ? gemm_mma_kernel<S, Out, true> : gemm_mma_kernel<S, Out, false>,
      dim3(blocks_for(M, kTile), blocks_for(N, kTile), static_cast<unsigned>(layout.count)),
      dim3(kThreads), 0, stream, y.data, x.data, w.data, bias.data, N, M, K, strides,
      layout.accumulate, in_pairs);
}

#define ASSAY_INSTANTIATE(S)                                                                      \
  template void gemm_mma<S>(View<S, 2>, In<S, 2>, In<S, 2>, In<S, 1>, Stream, const GemmLayout&); \
  template void gemm_mma<S>(View<float, 2>, In<S, 2>, In<S, 2>, In<S, 1>, Stream,                 \
                            const GemmLayout&);
ASSAY_FOR_NARROW_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

#define ASSAY_INSTANTIATE(S) \
  template void gemm_mma<S>(View<S, 2>, In<S, 2>, In<S, 2>, In<S, 1>, Stream, const GemmLayout&);
ASSAY_FOR_TYPES_READ_AS_TF32(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
