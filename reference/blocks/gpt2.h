// The GPT-2 block and the model around it.
//
//   X_0 = wte[token] + wpe[position];  positions 0 .. T-1 in every row, whatever is padded
//
//   norm = pre    h = attn_norm_l(X_l);  A_l = softmax(mask(scores));  O_l = concat_h(A_l V_l) Wo_l
//                 Y_l = X_l + O_l;  U_l = MLP_l(mlp_norm_l(Y_l));  X_{l+1} = Y_l + U_l
//   norm = post   h = X_l;  O_l as above
//                 Y_l = attn_norm_l(X_l + O_l);  U_l = MLP_l(Y_l);  X_{l+1} = mlp_norm_l(Y_l + U_l)
//
//   MLP(x) = W_proj GELU(W_fc x + b_fc) + b_proj;  attn_norm = ln_1, mlp_norm = ln_2, LayerNorms
//
// Every projection has a bias. No RoPE: q and k are the plain projections. logits = ln_f(X_L) wte^T
// with norm = pre. With norm = post there is no norm around the whole stack, as in the original
// Transformer, GPT and BERT: X_L has just been through mlp_norm, so a second one would only
// multiply gains. The embedding is not normed in either. Positions are mixed by attention only.
//
// Methods with norm = post: v_{j>l} = X_l Wv_j, o_{j>l} = concat_h(A_j v_{j>l}) Wo_j,
// r_{j>l} = MLP_j(attn_norm_j(X_l + o_{j>l})), and what a method adds at a site enters before the
// norm of that site. This is the project's own definition: layer j is run again on X_l as layer j
// would run on it, up to the output of the part whose sum is formed.
//
// A key/value head is shared by H/Hkv query heads (MQA: Hkv = 1), which GPT-2 itself does not have.
// Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.3;
// weight names and layouts of Hugging Face transformers' GPT2LMHeadModel; for post Radford et al.,
// "Improving Language Understanding by Generative Pre-Training", 2018.
#pragma once

#include <memory>

#include "reference/blocks/block.h"

namespace assay::reference {

// Embedding to loss. See methods/registry.h.
std::unique_ptr<Graph> build_gpt2(const golden::ModelConfig& config, const Method& method,
                                  int64_t batch, int64_t positions);

}  // namespace assay::reference
