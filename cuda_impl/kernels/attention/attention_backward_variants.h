// The variants of attention_backward(): every implementation under its name, with its parameters
// and results.
#pragma once

#include "cuda_impl/kernels/attention/attention_variants.h"
#include "cuda_impl/kernels/backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// S: any storage type. A pair that is hidden, by order, padding or window, is never multiplied.
template <class S>
void attention_backward_tiled(View<accum_t<S>, 4> dv, const ScoreGradients<accum_t<S>>& gradients,
                              const AttentionBackwardArguments<S>& arguments, Stream stream);

// On tensor cores, for what has_attention_backward_mma takes. It rounds P and dS to S where they
// enter a product, so the gradients are not as exact; and operands of hidden pairs must be finite,
// keys and values of padding aside.
template <class S>
void attention_backward_mma(View<float, 4> dv, const ScoreGradients<float>& gradients,
                            const AttentionBackwardArguments<S>& arguments, Stream stream);

// S = bf16 and f16, Dh = 16, 32, 64 or 128, scores of one layer without an offset whose coefficient
// depends on neither query nor key, and whose gradient is not asked for.
template <class S>
bool has_attention_backward_mma(const ScoreOperands<S>& scores,
                                const ScoreGradients<accum_t<S>>& gradients) {
  const Coefficients<accum_t<S>>& c = scores.coefficients;
  return kHasMma<S> && is_mma_head_size(scores.Dh) && scores.layers == 1 &&
         scores.offset == nullptr && c.query == 0 && c.key == 0 &&
         gradients.dcoefficients.data == nullptr;
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
