// The variants of attention(), replay_attention() and stored_attention(): every implementation
// under its name, with their parameters and results.
#pragma once

#include "cuda_impl/kernels/gemm/gemm_variants.h"
#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// S: any storage type. A later position's value is never read, nor used one before the window.
template <class S>
void attention_tiled(View<S, 3> context, View<accum_t<S>, 3> lse, const ScoreOperands<S>& scores,
                     In<S, 4> v, Stream stream);
template <class S>
void replay_attention_tiled(View<S, 3> context, In<accum_t<S>, 3> lse,
                            const ScoreOperands<S>& scores, In<S, 4> v, Stream stream,
                            const ReplayLayout<accum_t<S>>& layout = {});

template <class S>
void stored_attention_tiled(View<S, 3> context, In<S, 4> probs, const ScoreOperands<S>& scores,
                            In<S, 4> v, Stream stream, const ReplayLayout<accum_t<S>>& layout = {});

// On tensor cores, for S = bf16 and f16, Dh = 16, 32, 64 or 128, and coefficients that depend on
// neither query nor key. Each probability is rounded to S before it meets its value, so the context
// is not as exact, and values of positions that a query does not see must be finite.
template <class S>
void attention_mma(View<S, 3> context, View<float, 3> lse, const ScoreOperands<S>& scores,
                   In<S, 4> v, Stream stream);
template <class S>
void replay_attention_mma(View<S, 3> context, In<float, 3> lse, const ScoreOperands<S>& scores,
                          In<S, 4> v, Stream stream, const ReplayLayout<float>& layout = {});

// S: any storage type. For the one query of a step of decoding: its keys are cut into parts of
// `span` positions, a multiple of 32, that blocks of their own read and that are added up at the
// end. A row's bits depend on span, and on nothing that is not its own; they are not those of the
// other variants. partial [B*H*T,attention_parts(..),Dh+2] is written over.
template <class S>
void attention_split(View<S, 3> context, View<accum_t<S>, 3> lse, View<accum_t<S>, 3> partial,
                     const ScoreOperands<S>& scores, In<S, 4> v, int64_t span, Stream stream);
// Of keys at up to `positions` positions: those of the sinks and of a window wherever it begins.
inline int64_t attention_parts(int64_t positions, int64_t window, int64_t sinks, int64_t span) {
  const auto up = [span](int64_t n) { return (n + span - 1) / span; };
  const int64_t all = up(positions);
  const int64_t seen = window == 0 ? all : up(sinks) + up(window) + 1;
  return seen < all ? seen : all;
}

// The same types and head sizes; probabilities are stored in S anyway.
template <class S>
void stored_attention_mma(View<S, 3> context, In<S, 4> probs, const ScoreOperands<S>& scores,
                          In<S, 4> v, Stream stream, const ReplayLayout<float>& layout = {});

// The head sizes of the variants on tensor cores, forward and backward.
constexpr bool is_mma_head_size(int64_t Dh) {
  return Dh == 16 || Dh == 32 || Dh == 64 || Dh == 128;
}

// Whether attention() and replay_attention() take the tensor cores: wherever they can. How many
// rows there are does not enter, so that a row's bits do not depend on it.
template <class S>
constexpr bool prefers_attention_mma(int64_t Dh, const Coefficients<accum_t<S>>& coefficients) {
  return kHasMma<S> && is_mma_head_size(Dh) && coefficients.query == 0 && coefficients.key == 0;
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
