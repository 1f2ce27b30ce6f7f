// The Llama block (pre-norm) and the model around it.
//
//   h = attn_norm_l(X_l);  A_l = softmax(mask(scores));  O_l = concat_h(A_l V_l) Wo_l
//   Y_l = X_l + O_l;       U_l = MLP_l(mlp_norm_l(Y_l));  X_{l+1} = Y_l + U_l
//   MLP(x) = W_down( silu(W_gate x) * (W_up x) )
//
// Positions are mixed by attention only.
// Source: Touvron et al., "LLaMA", 2023, section 2.2; keys and weight names as in Hugging Face
// transformers' LlamaForCausalLM.
#pragma once

#include <memory>

#include "reference/blocks/block.h"

namespace assay::reference {

// Embedding to loss. See methods/registry.h.
std::unique_ptr<Graph> build_llama(const golden::ModelConfig& config, const Method& method,
                                   int64_t batch, int64_t positions);

}  // namespace assay::reference
