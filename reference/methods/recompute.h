// Earlier layers run again on the current input: what methods 1 to 4 and both plans share.
//
// For each earlier layer j < l, with A_j the attention probabilities of j's own first pass:
//   (1)  o_{j>l} = concat_h(A_j (attn_norm_j(X_l) Wv_j)) Wo_j        attention output
//   (2)  r_{j>l} = MLP_j(mlp_norm_j(X_l + o_{j>l}))                  MLP output
// (3) to (5) are in recompute_mlp.cpp, (6) to (10) in recompute_attn.cpp, all in docs/methods.md.
//
// Both start from X_l, the input of layer l. A_j is used as stored: already causal, rows already
// sum to 1. It is never masked or softmaxed again; a second softmax turns a row (0.9, 0.1) into
// (0.69, 0.31). Positions are mixed by A_j only. Gradients flow through A_j into layer j's queries
// and keys, unless it is detached.
// Source: docs/methods.md, methods 1 to 4.2.
#pragma once

#include <vector>

#include "reference/blocks/block.h"

namespace assay::reference {

// Which output of a layer is run again; names are layers/{l}/recompute/{j}/..
Node attention_again(const Site& site, const Layer& j, bool detach_stored);  // o_{j>l} [B,T,D]
Node mlp_again(const Site& site, const Layer& j, bool detach_stored);        // r_{j>l} [B,T,D]

// How the terms of a site become one: earlier layers' outputs run again, in ascending order, and
// the layer's own.
//   sum           sum_{j<l} again_j                                  the own output stays apart
//   mean          (own + sum_{j<l} again_j) / m
//   learned_mean  sum_{j<l} w_j again_j + w_l own,  w = softmax(theta_l), theta_l [m]
enum class Combine { sum, mean, learned_mean };

Node combine(const Site& site, Combine how, std::vector<Node> again, Node own);

}  // namespace assay::reference
