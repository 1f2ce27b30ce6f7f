// Attention scores and probabilities written out, for taps, and probabilities for
// stored_attention.cu; attention.cu never forms them.
//   scores[t,s] = sum_{i<layers} c_i(b,t,s) (q_i[t] . k_i[s]) + offset[t]   -inf where s is hidden
//   probs[t,s]  = exp(scores[t,s] - lse[t])                                 0 where s is hidden
//
//   q_i [B,H,T,Dh], k_i [B,Hkv,T,Dh]  stored as S, through device tables of pointers
//   padding_mask [B,T], lse [B,H,T]   as in attention.cu
//   out  [B,H,T,T]                    accum_t<S>, of store_probs S
// Launch: one block of 4 warps per tile of 32 queries and 32 keys. Same limits as attention.cu.
// Longest addition chain Dh + layers.
// CPU counterpart: reference/ops/{scores,mask,softmax}.cpp
#include "cuda_impl/kernels/attention/stored_attention.h"
#include "cuda_impl/kernels/tiles/score_tile.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

// g_lse is null for scores.
template <class S, class Out, bool kProbs>
__global__ void __launch_bounds__(kScoreThreads, 1)
    attention_matrix_kernel(Out* __restrict__ g_out, const accum_t<S>* __restrict__ g_lse,
                            ScoreParams<S> p, int query_tiles) {
  using A = accum_t<S>;
  simt::Smem smem;
  ScoreTile<S> tile(smem, p.Dh);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int h = static_cast<int>(blockIdx.y), b = static_cast<int>(blockIdx.z);
  const int query0 = static_cast<int>(blockIdx.x) % query_tiles * kQueries;
  const int key0 = static_cast<int>(blockIdx.x) / query_tiles * kKeys;
  const int key = key0 + lane;
  const int64_t head = int64_t{b} * p.H + h;

  A r_score[kRowsPerWarp];
  tile.scores(r_score, p, b, h, query0, 0, key0, false);

  const auto rows =
      p.window.of_row(b, 0, p.T).rows_of(key, query0 + warp * kRowsPerWarp, kRowsPerWarp);
  const bool is_real = key < p.T && p.padding_mask[int64_t{b} * p.T + key] != 0;
  for (int r = 0; r < kRowsPerWarp; ++r) {
    const int row = query0 + warp * kRowsPerWarp + r;
    if (row >= p.T || key >= p.T) continue;
    const bool visible = is_real && rows.contains(r);
    const A score = r_score[r];
    A value = visible ? score : -kInfinity<A>;
    if constexpr (kProbs) value = visible ? simt::exp(score - g_lse[head * p.T + row]) : A(0);
    g_out[(head * p.T + row) * p.T + key] = simt::from_accum<Out>(value);
  }
}

template <class S, class Out, bool kProbs>
void launch_matrix(const char* kernel, View<Out, 4> out, const accum_t<S>* lse,
                   const ScoreOperands<S>& scores, Stream stream) {
  const auto [B, T] = scores.padding_mask.shape;
  const ScoreParams<S> params = score_params(kernel, scores, T);
  expect_whole(kernel, scores);
  expect_shape(kernel, "out [B,H,T,T]", out, {B, scores.H, T, T});
  const unsigned query_tiles = blocks_for(T, kQueries), key_tiles = blocks_for(T, kKeys);
  simt::launch(
      LaunchName(kernel, out.shape).text, attention_matrix_kernel<S, Out, kProbs>,
      dim3(query_tiles * key_tiles, static_cast<unsigned>(scores.H), static_cast<unsigned>(B)),
      dim3(kScoreThreads), score_smem<S>(scores.Dh).bytes, stream, out.data, lse, params,
      query_tiles);
}

template <class S, class Out>
void launch_probs(const char* kernel, View<Out, 4> out, const ScoreOperands<S>& scores,
                  In<accum_t<S>, 3> lse, Stream stream) {
  const auto [B, T] = scores.padding_mask.shape;
  expect_shape(kernel, "lse [B,H,T]", lse, {B, scores.H, T});
  launch_matrix<S, Out, true>(kernel, out, lse.data, scores, stream);
}

}  // namespace

template <class S>
void attention_scores(View<accum_t<S>, 4> out, const ScoreOperands<S>& scores, Stream stream) {
  launch_matrix<S, accum_t<S>, false>("attention_scores", out, nullptr, scores, stream);
}

template <class S>
void attention_probs(View<accum_t<S>, 4> out, const ScoreOperands<S>& scores, In<accum_t<S>, 3> lse,
                     Stream stream) {
  launch_probs<S, accum_t<S>>("attention_probs", out, scores, lse, stream);
}

template <class S>
void store_probs(View<S, 4> probs, const ScoreOperands<S>& scores, In<accum_t<S>, 3> lse,
                 Stream stream) {
  launch_probs<S, S>("store_probs", probs, scores, lse, stream);
}

#define ASSAY_INSTANTIATE(S)                                                               \
  template void attention_scores<S>(View<accum_t<S>, 4>, const ScoreOperands<S>&, Stream); \
  template void attention_probs<S>(View<accum_t<S>, 4>, const ScoreOperands<S>&,           \
                                   In<accum_t<S>, 3>, Stream);                             \
  template void store_probs(View<S, 4>, const ScoreOperands<S>&, In<accum_t<S>, 3>, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
