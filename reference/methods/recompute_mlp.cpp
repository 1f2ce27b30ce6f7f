// Methods 1, 3.1 and 3.2: earlier layers run again on the current stream, added at the MLP.
//
// With r_{j>l} = MLP_j(mlp_norm_j(X_l + o_{j>l})), (2) of recompute.h, for l >= 1, residual = keep:
//   (3)  X_{l+1} = Y_l + U_l + sum_{j<l} r_{j>l}                       method 1
//   (4)  X_{l+1} = Y_l + ( U_l + sum_{j<l} r_{j>l} ) / m               method 3.1
//   (5)  X_{l+1} = Y_l + sum_{j<l} w_j r_{j>l} + w_l U_l               method 3.2
//        w = softmax(theta_l), theta_l in R^m
// residual = replace drops Y_l. Layer 0 is the plain block, and so is the attention of every layer.
//
// mlp/sum is sum_{j<l} r_{j>l} in method 1, and all that is added to Y_l in 3.1 and 3.2.
// Cost: layer l re-runs l value projections, l output projections and l MLPs, so O(L^2) over the
// model.
// Source: docs/methods.md, methods 1 to 4.2.
#include "reference/methods/recompute_mlp.h"

#include "reference/ops/add.h"

namespace assay::reference {

Method recompute_mlp(Combine how, golden::Residual residual, bool detach_stored) {
  Method method = plain_method();
  method.after_mlp = [=](const Site& site, Node y, Node mlp_out) {
    if (site.earlier.empty()) return y + mlp_out;
    std::vector<Node> again;  // r_{j>l} [B,T,D]
    for (const Layer& j : site.earlier) again.push_back(mlp_again(site, j, detach_stored));
    const Node added = named(site, combine(site, how, again, mlp_out), "mlp/sum");  // [B,T,D]
    std::vector<Node> terms;
    if (residual == golden::Residual::keep) terms.push_back(y);  // Y_l
    if (how == Combine::sum) terms.push_back(mlp_out);           // U_l, alone in (3) only
    terms.push_back(added);
    return sum(terms);  // [B,T,D]  (3) (4) (5)
  };
  return method;
}

}  // namespace assay::reference
