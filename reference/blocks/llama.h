// The Llama block (pre-norm) and the model around it.
//
//   h = attn_norm_l(X_l);  A_l = softmax(mask(scores));  O_l = concat_h(A_l V_l) Wo_l [+ bo_l]
//   Y_l = X_l + O_l;       U_l = MLP_l(mlp_norm_l(Y_l));  X_{l+1} = Y_l + U_l
//   q_h = R(n(h Wq_l [+ bq_l])_h), k likewise;  v = h Wv_l [+ bv_l];  R: RoPE
//   n: nothing, or with qk_norm RMSNorm over the Dh features of each head, all of which share
//      a gain
//   MLP(x) = W_down( silu(W_gate x) * (W_up x) )
//
// Families are options of this block: Llama has none of them or all four biases, Mistral a window,
// Qwen2 biases of q, k and v, Qwen3 norms of q and k. Positions are mixed by attention only.
// Source: Touvron et al., "LLaMA", 2023, section 2.2; Jiang et al., "Mistral 7B", 2023, section 2;
// Yang et al., "Qwen2 Technical Report", 2024, and "Qwen3 Technical Report", 2025, section 2; keys
// and weight names as in Hugging Face transformers' classes of these names.
#pragma once

#include <memory>

#include "reference/blocks/block.h"

namespace assay::reference {

// Embedding to loss. See methods/registry.h.
std::unique_ptr<Graph> build_llama(const golden::ModelConfig& config, const Method& method,
                                   int64_t batch, int64_t positions);

}  // namespace assay::reference
