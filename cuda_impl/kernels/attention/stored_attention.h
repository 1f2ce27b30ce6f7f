// Probabilities that are stored after one attention() and multiplied with other values later; the
// other way is replay_attention() (kernels.h), which rebuilds them. Whole sequences only.
#pragma once

#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// probs [B,H,T,T] = exp(scores - lse) rounded to S, 0 where the key is hidden.
template <class S>
void store_probs(View<S, 4> probs, const ScoreOperands<S>& scores, In<accum_t<S>, 3> lse,
                 Stream stream);

// context [B,T,H*Dh] = P v with the stored P = probs [B,H,T,T] and v [B,Hkv,T,Dh]. Of `scores` is
// read which keys are hidden: their values are never used, and no score is formed. Several layers
// as with replay_attention(), layout.lse being the elements from one layer's probs to the next
// one's.
template <class S>
void stored_attention(View<S, 3> context, In<S, 4> probs, const ScoreOperands<S>& scores,
                      In<S, 4> v, Stream stream, const ReplayLayout<accum_t<S>>& layout = {});

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
