// attention() and replay_attention(): choose a variant by the rule of prefers_attention_mma
// (attention_variants.h), stored_attention() by type and head size. No kernel of their own.
#include "cuda_impl/kernels/attention/attention_variants.h"

#include "cuda_impl/kernels/attention/stored_attention.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
void attention(View<S, 3> context, View<accum_t<S>, 3> lse, const ScoreOperands<S>& scores,
               In<S, 4> v, Stream stream) {
  if constexpr (kHasMma<S>) {
    if (prefers_attention_mma<S>(scores.Dh, scores.coefficients)) {
      attention_mma<S>(context, lse, scores, v, stream);
      return;
    }
  }
  attention_tiled<S>(context, lse, scores, v, stream);
}

template <class S>
void replay_attention(View<S, 3> context, In<accum_t<S>, 3> lse, const ScoreOperands<S>& scores,
                      In<S, 4> v, Stream stream, const ReplayLayout<accum_t<S>>& layout) {
  if constexpr (kHasMma<S>) {
    if (prefers_attention_mma<S>(scores.Dh, scores.coefficients)) {
      replay_attention_mma<S>(context, lse, scores, v, stream, layout);
      return;
    }
  }
  replay_attention_tiled<S>(context, lse, scores, v, stream, layout);
}

template <class S>
void stored_attention(View<S, 3> context, In<S, 4> probs, const ScoreOperands<S>& scores,
                      In<S, 4> v, Stream stream, const ReplayLayout<accum_t<S>>& layout) {
  if constexpr (kHasMma<S>) {
    if (is_mma_head_size(scores.Dh)) {
      stored_attention_mma<S>(context, probs, scores, v, stream, layout);
      return;
    }
  }
  stored_attention_tiled<S>(context, probs, scores, v, stream, layout);
}

#define ASSAY_INSTANTIATE(S)                                                                       \
  template void attention(View<S, 3>, View<accum_t<S>, 3>, const ScoreOperands<S>&, In<S, 4>,      \
                          Stream);                                                                 \
  template void replay_attention(View<S, 3>, In<accum_t<S>, 3>, const ScoreOperands<S>&, In<S, 4>, \
                                 Stream, const ReplayLayout<accum_t<S>>&);                         \
  template void stored_attention(View<S, 3>, In<S, 4>, const ScoreOperands<S>&, In<S, 4>, Stream,  \
                                 const ReplayLayout<accum_t<S>>&);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
