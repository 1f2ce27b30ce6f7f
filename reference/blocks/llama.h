// The Llama block (pre-norm) and the model around it, with three places where a method may differ.
//
//   h = attn_norm_l(X_l);  A_l = softmax(mask(scores));  O_l = concat_h(A_l V_l) Wo_l
//   Y_l = X_l + O_l;       U_l = MLP_l(mlp_norm_l(Y_l));  X_{l+1} = Y_l + U_l
//   MLP(x) = W_down( silu(W_gate x) * (W_up x) )
//
// Positions are mixed by attention only.
// Source: Touvron et al., "LLaMA", 2023, section 2.2; keys and weight names as in Hugging Face
// transformers' LlamaForCausalLM.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "golden/config.h"
#include "reference/graph.h"

namespace assay::reference {

// The parameters of layer `index`, and what later layers may read of its own pass.
struct Layer {
  int64_t index = 0;
  Node attn_norm, wq, wk, wv, wo;       // [D] [H*Dh,D] [Hkv*Dh,D] [Hkv*Dh,D] [D,H*Dh]
  Node mlp_norm, w_gate, w_up, w_down;  // [D] [F,D] [F,D] [D,F]
  Node raw_scores;                      // S_l [B,H,T,T]: before scale and mask
  Node probs;                           // A_l [B,H,T,T]
};

// What a method sees at a place of layer l.
struct Site {
  const golden::ModelConfig& config;
  const Layer& layer;
  std::span<const Layer> earlier;  // layers 0 .. l-1
  Node stream;                     // X_l [B,T,D]
};

// The three places. `scores` gives what is masked and enters the softmax [B,H,T,T];
// `after_attention` gives Y_l from O_l, `after_mlp` X_{l+1} from Y_l and U_l, all [B,T,D].
struct Method {
  std::function<Node(const Site&)> scores;
  std::function<Node(const Site&, Node attn_out)> after_attention;
  std::function<Node(const Site&, Node attn_residual, Node mlp_out)> after_mlp;
};

// S_l / sqrt(Dh), X_l + O_l, Y_l + U_l
Method plain_method();

// Names a node layers/{l}/{tensor}, l the site's layer.
Node named(const Site& site, Node node, const std::string& tensor);

// v [B,Hkv,T,Dh] = x Wv split into heads;  act [B,T,F] = silu(x Wgate) * (x Wup)
Node value_heads(const golden::ModelConfig& config, const Layer& layer, Node normalised);
Node mlp_act(const Layer& layer, Node normalised);

// Embedding to loss. See methods/registry.h.
std::unique_ptr<Graph> build_llama(const golden::ModelConfig& config, const Method& method,
                                   int64_t batch, int64_t positions);

}  // namespace assay::reference
