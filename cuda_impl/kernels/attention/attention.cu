// attention_tiled: attention forward, with online softmax, and its replay. For query t of head h,
// with g = floor(h / (H/Hkv)):
//   scores[t,s] = sum_{i<layers} c_i(b,t,s) (q_i[t] . k_i[s]) + offset[t],
//                 s visible iff s <= t, padding_mask[b,s] and, with a window,
//                 t - window < s or s < sinks
//   forward   lse[t] = log sum_{visible s} exp(scores[t,s])
//             context[t] = sum_{visible s} exp(scores[t,s] - lse[t]) v_g[s]
//   replay    context[t] = the same sum with lse given and another v, times the weight of its term;
//             of several layers at once with the arrays of ReplayLayout
//
//   q_i              [B,H,T,Dh], k_i, v [B,Hkv,R,Dh]  stored as S, through device tables of
//                    pointers
//   padding_mask     [B,R]       0 = padding
//   position_offset  [B]         the position of query 0: t above is position_offset + its row.
//                                Null: 0, and R = T
//   ring                         where in the R rows of k, v and padding_mask a key's position is
//   blocks                       or in which blocks: k, v [blocks,Hkv,blocks.rows,Dh]
//   lse              [B,H,T]     accum_t<S>; -inf for a row without a visible key, whose
//                                context is 0
//   context          [B,T,H*Dh]  stored as S, heads concatenated
// A hidden key is left out by selection: nothing is added to its score, and no product with its
// value is formed. No [T,T] array exists. The only rounding to S is the final store. Launch: one
// block of 4 warps per 32 queries of one head; keys in tiles of 32 that one of them may see. Any B,
// T, layers >= 1, Hkv dividing H, Dh <= kMaxHeadSize. Longest addition chain: scores Dh + layers;
// lse ceil(T/32) + 5; context T, rescaled ceil(T/32) times. CPU counterpart:
// reference/ops/{scores,mask,softmax,attend}.cpp
#include "cuda_impl/kernels/attention/attention_variants.h"
#include "cuda_impl/kernels/tiles/score_tile.h"
#include "cuda_impl/kernels/tiles/value_tile.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

template <class S>
simt::SmemSize attention_smem(int64_t Dh) {
  using A = accum_t<S>;
  return score_smem<S>(Dh)
      .template add<A>(static_cast<std::size_t>(kKeys * Dh))
      .template add<A>(kWarps * kKeys * kRowsPerWarp)
      .template add<int>(kKeys);
}

// g_lse is read in a replay and written otherwise.
template <class S, bool kReplay>
__global__ void __launch_bounds__(kScoreThreads, 2)
    attention_kernel(S* __restrict__ g_context, accum_t<S>* g_lse, const S* __restrict__ g_v,
                     ScoreParams<S> p, ReplayParams<accum_t<S>> replay) {
  using A = accum_t<S>;
  simt::Smem smem;
  ScoreTile<S> tile(smem, p.Dh);
  A* s_v = smem.take<A>(std::size_t(kKeys) * p.Dh);          // [kKeys][Dh]
  A* s_p_all = smem.take<A>(kWarps * kKeys * kRowsPerWarp);  // [kWarps][kKeys][kRowsPerWarp]
  int* s_padding_mask = smem.take<int>(kKeys);               // [kKeys]
  const int tid = static_cast<int>(threadIdx.x), lane = tid % 32, warp = tid / 32;
  const int h = static_cast<int>(blockIdx.y), b = static_cast<int>(blockIdx.z) % replay.B;
  const int j = static_cast<int>(blockIdx.z) / replay.B;  // which replay
  p.q += j;
  p.k += j;
  const int query0 = static_cast<int>(blockIdx.x) * kQueries;
  const int row0 = query0 + warp * kRowsPerWarp;  // the warp's first query
  const int64_t lse0 = j * replay.lse + (int64_t{b} * p.H + h) * p.T;
  const S* g_v_head =
      g_v + j * replay.v + int64_t{h / (p.H / p.Hkv)} * p.rows * p.Dh;  // of block 0 [rows,Dh]
  A* s_p = s_p_all + warp * kKeys * kRowsPerWarp;

  A r_context[kMaxColumns][kRowsPerWarp] = {};
  A r_max[kRowsPerWarp], r_sum[kRowsPerWarp];  // replay: r_max is the given lse
  unsigned seen = 0;                           // bit r: this lane had a visible key for row r
  for (int r = 0; r < kRowsPerWarp; ++r) {
    r_sum[r] = A(0);
    r_max[r] = kLowest<A>;  // exp(kLowest - maximum) is 0 or, with itself, 1
    if (kReplay && row0 + r < p.T) r_max[r] = g_lse[lse0 + row0 + r];
  }

  const int position_offset = p.position_offset(b);
  const int end = p.key_end(position_offset, query0 + kQueries);  // causal: no later key is read
  const Window window = p.window.of_row(b, position_offset, p.T);
  const Window tiles = window.of_tile(position_offset + query0, kQueries);
  const int start = tiles.next_tile(0, position_offset + query0, kKeys);
  for (int key0 = start; key0 < end;
       key0 = tiles.next_tile(key0 + kKeys, position_offset + query0, kKeys)) {
    __syncthreads();  // every thread has read the key and value tiles before
    for (int i = tid; i < kKeys * p.Dh; i += kScoreThreads) {
      const int n = i / p.Dh, d = i % p.Dh;
      s_v[i] = key0 + n < end ? simt::to_accum(g_v_head[p.key_at(b, key0, n, replay.v_batch) + d])
                              : A(0);
    }
    if (tid < kKeys) {
      s_padding_mask[tid] =
          key0 + tid < end && p.padding_mask[int64_t{b} * p.R + p.ring.row_of(key0) + tid] != 0;
    }
    A r_score[kRowsPerWarp];
    tile.scores(r_score, p, b, h, query0, position_offset, key0, key0 > start);

    const bool is_real = s_padding_mask[lane] != 0;
    const auto rows = window.rows_of(key0 + lane, position_offset + row0, kRowsPerWarp);
    for (int r = 0; r < kRowsPerWarp; ++r) {
      const bool visible = is_real && rows.contains(r);
      const A score = r_score[r];
      if constexpr (!kReplay) {
        const A highest = simt::max(r_max[r], simt::warp_max(visible ? score : kLowest<A>));
        const A rescale = simt::exp(r_max[r] - highest);
        r_max[r] = highest;
        r_sum[r] *= rescale;
        for (int c = 0; c < kMaxColumns; ++c) r_context[c][r] *= rescale;
        seen |= static_cast<unsigned>(visible) << r;
      }
      const A probability = visible ? simt::exp(score - r_max[r]) : A(0);
      r_sum[r] += probability;
      s_p[lane * kRowsPerWarp + r] = probability;
    }
    __syncwarp();  // the warp's rows of s_p are complete; no other warp reads them
    add_values(r_context, s_p, s_v, s_padding_mask, window, key0, position_offset + row0, p.Dh);
  }

  for (int r = 0; r < kRowsPerWarp; ++r) {
    const int row = row0 + r;
    bool any = true;
    A total = A(1);
    if constexpr (!kReplay) {
      any = __any_sync(simt::kFullMask, seen >> r & 1u) != 0;
      total = simt::warp_sum(r_sum[r]);
      if (lane == 0 && row < p.T) {
        g_lse[lse0 + row] = any ? r_max[r] + simt::log(total) : -kInfinity<A>;
      }
    }
    if (row >= p.T) continue;
    S* g_row = g_context + j * replay.context + (int64_t{b} * p.T + row) * replay.context_row +
               int64_t{h} * p.Dh;  // [Dh]
    SIMT_UNROLL for (int c = 0; c < kMaxColumns; ++c) {
      const int column = lane + 32 * c;
      if (column >= p.Dh) continue;
      const A value = kReplay ? r_context[c][r] * replay.terms.of(j) : r_context[c][r] / total;
      g_row[column] = simt::from_accum<S>(any ? value : A(0));
    }
  }
}

template <class S, bool kReplay>
void launch_attention(const char* kernel, View<S, 3> context, View<const accum_t<S>, 3> lse,
                      accum_t<S>* lse_out, const ScoreOperands<S>& scores, In<S, 4> v,
                      const ReplayLayout<accum_t<S>>& layout, Stream stream) {
  const int64_t B = scores.padding_mask.shape[0];
  const int64_t T = context.shape[1];
  const ScoreParams<S> params = score_params(kernel, scores, T);
  expect_shape(kernel, "context [B,T,H*Dh]", context, {B, T, scores.H * scores.Dh});
  expect_shape(kernel, "lse [B,H,T]", lse, {B, scores.H, T});
  expect_values(kernel, v, scores);
  simt::launch(LaunchName(kernel, context.shape).text, attention_kernel<S, kReplay>,
               dim3(blocks_for(T, kQueries), static_cast<unsigned>(scores.H),
                    static_cast<unsigned>(layout.count * B)),
               dim3(kScoreThreads), attention_smem<S>(scores.Dh).bytes, stream, context.data,
               lse_out, v.data, params, replay_params(kernel, scores, layout));
}

}  // namespace

template <class S>
void attention_tiled(View<S, 3> context, View<accum_t<S>, 3> lse, const ScoreOperands<S>& scores,
                     In<S, 4> v, Stream stream) {
  launch_attention<S, false>("attention_tiled", context, lse, lse.data, scores, v, {}, stream);
}

template <class S>
void replay_attention_tiled(View<S, 3> context, In<accum_t<S>, 3> lse,
                            const ScoreOperands<S>& scores, In<S, 4> v, Stream stream,
                            const ReplayLayout<accum_t<S>>& layout) {
  // Read only: the kernel's template writes lse in the other mode alone.
  launch_attention<S, true>("replay_attention_tiled", context, lse,
                            const_cast<accum_t<S>*>(lse.data), scores, v, layout, stream);
}

#define ASSAY_INSTANTIATE(S)                                                                   \
  template void attention_tiled(View<S, 3>, View<accum_t<S>, 3>, const ScoreOperands<S>&,      \
                                In<S, 4>, Stream);                                             \
  template void replay_attention_tiled(View<S, 3>, In<accum_t<S>, 3>, const ScoreOperands<S>&, \
                                       In<S, 4>, Stream, const ReplayLayout<accum_t<S>>&);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
