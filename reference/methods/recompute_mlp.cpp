// Method 1: earlier layers run again on the current stream, added at the MLP residual.
//
// For each earlier layer j < l, with A_j the attention probabilities of j's own first pass:
//   (1)  o_j = concat_h(A_j (attn_norm_j(X_l) Wv_j)) Wo_j
//   (2)  r_j = MLP_j(mlp_norm_j(X_l + o_j))
//   (3)  X_{l+1} = Y_l + U_l + sum_{j<l} r_j        residual = keep
//        X_{l+1} =       U_l + sum_{j<l} r_j        residual = replace, for l >= 1
//
// Both (1) and (2) start from X_l, the input of layer l. A_j is used as stored: already causal,
// rows already sum to 1. It is never masked or softmaxed again; a second softmax turns a row (0.9,
// 0.1) into (0.69, 0.31). Positions are mixed by A_j only. Layer 0 is the plain block. Cost: layer
// l re-runs l value projections, l output projections and l MLPs, so O(L^2) over the model.
#include "reference/methods/recompute_mlp.h"

#include <vector>

#include "golden/names.h"
#include "reference/ops/add.h"
#include "reference/ops/attend.h"

namespace assay::reference {
namespace {

// r_{j>l}: layer j on the input of layer l.
Node run_again(const Site& site, const Layer& j) {
  const auto again = [&](Node node, const char* tensor) {
    return node.graph->name(node, golden::recompute_name(site.layer.index, j.index, tensor));
  };
  const Node x = site.stream;                                 // [B,T,D]
  const Node h = again(j.attn_norm(x), "attn_norm");          // [B,T,D]
  const Node v = again(j.value_heads(h), "v");                // [B,Hkv,T,Dh]
  const Node context = again(attend(j.probs, v), "context");  // [B,T,H*Dh]
  const Node o = again(j.attn_out(context), "attn_out");      // [B,T,D]     (1)
  const Node n = again(j.mlp_norm(x + o), "mlp_norm");        // [B,T,D]
  const Node act = again(j.mlp_act(n), "mlp_act");            // [B,T,F]
  return again(j.mlp_out(act), "mlp_out");                    // [B,T,D]     (2)
}

}  // namespace

Method recompute_mlp(golden::Residual residual) {
  Method method = plain_method();
  method.after_mlp = [residual](const Site& site, Node y, Node mlp_out) {
    if (site.earlier.empty()) return y + mlp_out;
    std::vector<Node> again;
    for (const Layer& j : site.earlier) again.push_back(run_again(site, j));
    const Node all = named(site, sum(again), "mlp/sum");                // [B,T,D]
    return residual == golden::Residual::keep ? sum({y, mlp_out, all})  //             (3)
                                              : sum({mlp_out, all});
  };
  return method;
}

}  // namespace assay::reference
