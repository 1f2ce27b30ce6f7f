// stored_attention_mma: stored_attention.cu on tensor cores. For query t of head h, with
// g = floor(h / (H/Hkv)):
//   context[t] = sum_{visible s} P[t,s] v_g[s], times the weight of its term;
//                of several layers at once with the arrays of ReplayLayout
//   s visible iff s <= t, padding_mask[b,s] and, with a window, t - window < s or s < sinks
//
//   P             [B,H,T,T]     stored as S (bf16, f16); cells of hidden keys are not used
//   v             [B,Hkv,T,Dh]  stored as S
//   padding_mask  [B,T]         0 = padding
//   context       [B,T,H*Dh]    stored as S, heads concatenated
// Rounding: products and sums are float, the context is rounded to S by the final store. Padded
// keys are left out by selection; the value of a later key, or of one before the window, is
// multiplied by 0, so it must be finite.
// Launch: one block of 4 warps per 64 queries of one head, a warp per 16; keys in tiles of 64 that
// one of them may see. Any B, T >= 1, Hkv dividing H, Dh in {16, 32, 64, 128}.
// Registers 79, 113, 118, 166 by Dh, no spills; shared memory 2560, 4864, 9472, 18688 bytes. (nvcc
// 13.0, sm_90; its time on a GPU is not measured.)
// Longest addition chain T; a tensor core adds in an order of its own (simt/mma.h).
// CPU counterpart: reference/ops/attend.cpp
#include "cuda_impl/kernels/attention/attention_variants.h"
#include "cuda_impl/kernels/tiles/mma_tile.h"
#include "cuda_impl/kernels/tiles/score_tile.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

simt::SmemSize stored_mma_smem(int Dh) {
  return simt::SmemSize{}.add<uint32_t>(turned_words(kBlockKeys, Dh)).add<int>(kBlockKeys);
}

// in_pairs: two neighbours of g_context may be stored at once.
template <class S, int kDh>
__global__ void __launch_bounds__(kMmaThreads, 2)
    stored_attention_mma_kernel(S* __restrict__ g_context, const S* __restrict__ g_probs,
                                const S* __restrict__ g_v, ScoreParams<S> p,
                                ReplayParams<float> replay, bool in_pairs) {
  simt::Smem smem;
  auto* s_values = smem.take<uint32_t>(turned_words(kBlockKeys, kDh));  // [d][key]
  int* s_padding_mask = smem.take<int>(kBlockKeys);                     // [key]
  const int tid = static_cast<int>(threadIdx.x), lane = tid % 32, warp = tid / 32;
  const int h = static_cast<int>(blockIdx.y), b = static_cast<int>(blockIdx.z) % replay.B;
  const int j = static_cast<int>(blockIdx.z) / replay.B;  // which layer
  const int query0 = static_cast<int>(blockIdx.x) * kMmaRows;
  const int row0 = query0 + 16 * warp;  // the warp's first query
  g_probs += j * replay.lse + (int64_t{b} * p.H + h) * p.T * p.T;
  g_v += j * replay.v + b * replay.v_batch + int64_t{h / (p.H / p.Hkv)} * p.T * kDh;

  MmaD r_context[kDh / 8] = {};
  const int end = p.key_end(0, query0 + kMmaRows);  // causal: no later key is read
  const Window window = p.window.of_row(b, 0, p.T), tiles = window.of_tile(query0, kMmaRows);
  for (int key0 = tiles.next_tile(0, query0, kBlockKeys); key0 < end;
       key0 = tiles.next_tile(key0 + kBlockKeys, query0, kBlockKeys)) {
    __syncthreads();  // every thread has read the values before
    const uint8_t* g_padding_mask = p.padding_mask + int64_t{b} * p.T + key0;
    load_turned<kDh, kBlockKeys>(s_values, g_v + int64_t{key0} * kDh, kDh, g_padding_mask,
                                 end - key0);
    if (tid < kBlockKeys) s_padding_mask[tid] = key0 + tid < end && g_padding_mask[tid] != 0;
    __syncthreads();            // the values and s_padding_mask are complete
    if (row0 >= p.T) continue;  // the whole warp

    const unsigned visible = visible_keys<kKeyTiles>(s_padding_mask, window, key0, row0, lane);
    MmaD r_probs[kKeyTiles] = {};
    SIMT_UNROLL for (int tile = 0; tile < kKeyTiles; ++tile) {
      SIMT_UNROLL for (int i = 0; i < 4; ++i) {
        const simt::MmaPlace at = simt::mma_d_place(lane, i);
        const int row = row0 + at.row, key = key0 + 8 * tile + at.column;
        if (row >= p.T || (visible >> (4 * tile + i) & 1u) == 0) continue;
        r_probs[tile].value[i] = simt::to_accum(g_probs[int64_t{row} * p.T + key]);
      }
    }
    add_weighted<S, kDh>(r_context, r_probs, s_values, lane);
  }

  g_context += j * replay.context + int64_t{h} * kDh;
  SIMT_UNROLL for (int r = 0; r < 2; ++r) {
    const simt::MmaPlace at = simt::mma_d_place(lane, 2 * r);
    const int row = row0 + at.row;
    if (row >= p.T) continue;
    store_row<kDh>(g_context + (int64_t{b} * p.T + row) * replay.context_row + at.column, r,
                   r_context, in_pairs, [&](float sum) { return S(sum * replay.terms.of(j)); });
  }
}

}  // namespace

template <class S>
void stored_attention_mma(View<S, 3> context, In<S, 4> probs, const ScoreOperands<S>& scores,
                          In<S, 4> v, Stream stream, const ReplayLayout<float>& layout) {
  const char* const kernel = "stored_attention_mma";
  const ScoreParams<S> params = stored_params(kernel, context, probs, scores, v);
  const auto [B, T] = scores.padding_mask.shape;
  void (*entry)(S*, const S*, const S*, ScoreParams<S>, ReplayParams<float>, bool) = nullptr;
  if (scores.Dh == 16) entry = stored_attention_mma_kernel<S, 16>;
  if (scores.Dh == 32) entry = stored_attention_mma_kernel<S, 32>;
  if (scores.Dh == 64) entry = stored_attention_mma_kernel<S, 64>;
  if (scores.Dh == 128) entry = stored_attention_mma_kernel<S, 128>;
  if (entry == nullptr) {
    throw simt::Error(std::string(kernel) + ": Dh: expected 16, 32, 64 or 128, got " +
                      std::to_string(scores.Dh));
  }
  simt::launch(LaunchName(kernel, context.shape).text, entry,
               dim3(blocks_for(T, kMmaRows), static_cast<unsigned>(scores.H),
                    static_cast<unsigned>(layout.count * B)),
               dim3(kMmaThreads), stored_mma_smem(params.Dh).bytes, stream, context.data,
               probs.data, v.data, params, replay_params(kernel, scores, layout),
               in_pairs_of(context, layout));
}

#define ASSAY_INSTANTIATE(S)                                                                  \
  template void stored_attention_mma(View<S, 3>, In<S, 4>, const ScoreOperands<S>&, In<S, 4>, \
                                     Stream, const ReplayLayout<float>&);
ASSAY_FOR_NARROW_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
