// stored_attention_tiled: an earlier attention's stored probabilities on other values. For query t
// of head h, g = floor(h / (H/Hkv)):
//   context[t] = sum_{visible s} P[t,s] v_g[s], times the weight of its term;
//                of several layers at once with the arrays of ReplayLayout
//   s visible iff s <= t, padding_mask[b,s] and, with a window, t - window < s or s < sinks
//
//   P             [B,H,T,T]     stored as S; cells of hidden keys are not used
//   v             [B,Hkv,T,Dh]  stored as S
//   padding_mask  [B,T]         0 = padding
//   context       [B,T,H*Dh]    stored as S, heads concatenated
// A hidden key is left out by selection: no product with its value is formed. Launch: one block of
// 4 warps per 32 queries of one head; keys in tiles of 32 that one of them may see. Any B, T >= 1,
// Hkv dividing H, Dh <= kMaxHeadSize. Longest addition chain T. CPU counterpart:
// reference/ops/attend.cpp
#include "cuda_impl/kernels/attention/attention_variants.h"

#include "cuda_impl/kernels/tiles/value_tile.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

template <class S>
simt::SmemSize stored_smem(int64_t Dh) {
  using A = accum_t<S>;
  return simt::SmemSize{}
      .template add<A>(static_cast<std::size_t>(kKeys * Dh))
      .template add<A>(kWarps * kKeys * kRowsPerWarp)
      .template add<int>(kKeys);
}

template <class S>
__global__ void __launch_bounds__(kScoreThreads, 2)
    stored_attention_tiled_kernel(S* __restrict__ g_context, const S* __restrict__ g_probs,
                                  const S* __restrict__ g_v, ScoreParams<S> p,
                                  ReplayParams<accum_t<S>> replay) {
  using A = accum_t<S>;
  simt::Smem smem;
  A* s_v = smem.take<A>(std::size_t(kKeys) * p.Dh);          // [kKeys][Dh]
  A* s_p_all = smem.take<A>(kWarps * kKeys * kRowsPerWarp);  // [kWarps][kKeys][kRowsPerWarp]
  int* s_padding_mask = smem.take<int>(kKeys);               // [kKeys]
  const int tid = static_cast<int>(threadIdx.x), lane = tid % 32, warp = tid / 32;
  const int h = static_cast<int>(blockIdx.y), b = static_cast<int>(blockIdx.z) % replay.B;
  const int j = static_cast<int>(blockIdx.z) / replay.B;  // which layer
  const int query0 = static_cast<int>(blockIdx.x) * kQueries;
  const int row0 = query0 + warp * kRowsPerWarp;  // the warp's first query
  const S* g_rows =
      g_probs + j * replay.lse + ((int64_t{b} * p.H + h) * p.T + row0) * p.T;  // [.,T]
  const S* g_v_head =
      g_v + j * replay.v + b * replay.v_batch + int64_t{h / (p.H / p.Hkv)} * p.T * p.Dh;  // [T,Dh]
  A* s_p = s_p_all + warp * kKeys * kRowsPerWarp;

  A r_context[kMaxColumns][kRowsPerWarp] = {};
  const int end = p.key_end(0, query0 + kQueries);  // causal: no later key is read
  const Window window = p.window.of_row(b, 0, p.T), tiles = window.of_tile(query0, kQueries);
  for (int key0 = tiles.next_tile(0, query0, kKeys); key0 < end;
       key0 = tiles.next_tile(key0 + kKeys, query0, kKeys)) {
    __syncthreads();  // every thread has read the tiles before
    for (int i = tid; i < kKeys * p.Dh; i += kScoreThreads) {
      s_v[i] = key0 + i / p.Dh < end ? simt::to_accum(g_v_head[int64_t{key0} * p.Dh + i]) : A(0);
    }
    if (tid < kKeys) {
      s_padding_mask[tid] = key0 + tid < end && p.padding_mask[int64_t{b} * p.T + key0 + tid] != 0;
    }
    for (int r = 0; r < kRowsPerWarp; ++r) {
      const bool exists = row0 + r < p.T && key0 + lane < end;
      s_p[lane * kRowsPerWarp + r] =
          exists ? simt::to_accum(g_rows[int64_t{r} * p.T + key0 + lane]) : A(0);
    }
    __syncthreads();  // the tiles are complete
    add_values(r_context, s_p, s_v, s_padding_mask, window, key0, row0, p.Dh);
  }

  for (int r = 0; r < kRowsPerWarp && row0 + r < p.T; ++r) {
    S* g_row = g_context + j * replay.context + (int64_t{b} * p.T + row0 + r) * replay.context_row +
               int64_t{h} * p.Dh;  // [Dh]
    SIMT_UNROLL for (int c = 0; c < kMaxColumns; ++c) {
      const int column = lane + 32 * c;
      if (column < p.Dh) {
        g_row[column] = simt::from_accum<S>(r_context[c][r] * replay.terms.of(j));
      }
    }
  }
}

}  // namespace

template <class S>
void stored_attention_tiled(View<S, 3> context, In<S, 4> probs, const ScoreOperands<S>& scores,
                            In<S, 4> v, Stream stream, const ReplayLayout<accum_t<S>>& layout) {
  const char* const kernel = "stored_attention_tiled";
  const ScoreParams<S> params = stored_params(kernel, context, probs, scores, v);
  const auto [B, T] = scores.padding_mask.shape;
  simt::launch(LaunchName(kernel, context.shape).text, stored_attention_tiled_kernel<S>,
               dim3(blocks_for(T, kQueries), static_cast<unsigned>(scores.H),
                    static_cast<unsigned>(layout.count * B)),
               dim3(kScoreThreads), stored_smem<S>(scores.Dh).bytes, stream, context.data,
               probs.data, v.data, params, replay_params(kernel, scores, layout));
}

#define ASSAY_INSTANTIATE(S)                                                                    \
  template void stored_attention_tiled(View<S, 3>, In<S, 4>, const ScoreOperands<S>&, In<S, 4>, \
                                       Stream, const ReplayLayout<accum_t<S>>&);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
