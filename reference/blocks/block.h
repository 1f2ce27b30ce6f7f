// What a method needs to know of a block: the layers' own maths on any input, and the three places
// where a method may differ. A block (blocks/llama.h) fills it in; a method (methods/) reads it.
//
//   h = attn_norm_l(X_l);  A_l = softmax(mask(scores));  O_l = attn_out_l(concat_h(A_l V_l))
//   Y_l = X_l + O_l;       U_l = mlp_out_l(mlp_act_l(mlp_norm_l(Y_l)));  X_{l+1} = Y_l + U_l
#pragma once

#include <functional>
#include <span>
#include <string>

#include "golden/contract/config.h"
#include "reference/graph/graph.h"

namespace assay::reference {

using Map = std::function<Node(Node)>;

// Layer `index`: its parameters applied to any input, and what later layers may read of its own
// pass. attn_norm turns a stream into what the projections read, mlp_norm a stream after the
// attention residual into what the MLP reads. In a block with norms after the residuals there is no
// attn_norm here (an empty Map: projections read the stream) and mlp_norm is the norm by that name.
struct Layer {
  int64_t index = 0;
  Map attn_norm;                           // [B,T,D] to [B,T,D]; may be empty
  Map value_heads;                         // [B,T,D], normalised, to v [B,Hkv,T,Dh]
  Map attn_out;                            // context [B,T,H*Dh] to [B,T,D]
  Map mlp_norm;                            // [B,T,D] to [B,T,D]
  Map mlp_act;                             // [B,T,D], normalised, to [B,T,F]
  Map mlp_out;                             // [B,T,F] to [B,T,D]
  std::string mlp_norm_name = "mlp_norm";  // of the tensor that mlp_norm computes

  Node attn_input;  // h [B,T,D]: what the layer's projections read in its own pass
  Node raw_scores;  // S_l [B,H,T,T]: before scale and mask
  Node probs;       // A_l [B,H,T,T]
};

// What a method sees at a place of layer l.
struct Site {
  const golden::ModelConfig& config;
  const Layer& layer;
  std::span<const Layer> earlier;  // layers 0 .. l-1
  Node stream;                     // X_l [B,T,D]
};

// The three places. `scores` gives what is masked and enters the softmax [B,H,T,T];
// `after_attention` gives Y_l from O_l, `after_mlp` X_{l+1} from Y_l and U_l, all [B,T,D]; a block
// with norms after the residuals norms what they give.
struct Method {
  std::function<Node(const Site&)> scores;
  std::function<Node(const Site&, Node attn_out)> after_attention;
  std::function<Node(const Site&, Node attn_residual, Node mlp_out)> after_mlp;
};

// S_l / sqrt(Dh), X_l + O_l, Y_l + U_l
Method plain_method();

// The method's scores with -inf where the site's query does not see the key. A dynamic window is of
// the layer's own raw scores in every method, and named attn/window.
Node masked_scores(const Site& site, const Method& method, Node attention_mask);

// Names a node layers/{l}/{tensor}, l the site's layer.
Node named(const Site& site, Node node, const std::string& tensor);

// A parameter that the method learns in the site's layer, by its suffix in contract/methods.h.
Node learned(const Site& site, const std::string& suffix);

}  // namespace assay::reference
