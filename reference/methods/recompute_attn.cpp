// Methods 2, 4.1, 4.2 and both plans: earlier layers run again on the current stream, added at the
// attention.
//
// With o_{j>l} = concat_h(A_j (attn_norm_j(X_l) Wv_j)) Wo_j, (1) of recompute.h, for l >= 1,
// residual = keep:
//   (6)   Y_l = X_l + O_l + sum_{j<l} o_{j>l}              method 2
//   (7)   Y_l = X_l + ( O_l + sum_{j<l} o_{j>l} ) / m      method 4.1
//   (8)   Y_l = X_l + sum_{j<l} w_j o_{j>l} + w_l O_l      method 4.2
//         w = softmax(theta_l), theta_l in R^m
//   (9)   Y_l = X_l + sum_{j<l} o_{j>l}                    plan A; later layers still need A_l
//   (10)  Y_l = X_l + O_l + sum_{j<l} o_{j>l}              plan B; A_j is a constant for gradients
// residual = replace drops X_l in (6), (7) and (8). Layer 0 is the plain block, and so is the MLP
// of every layer. Forward, plan B is method 2.
//
// attn/sum is sum_{j<l} o_{j>l} in method 2 and the plans, and all that is added to X_l in 4.1 and
// 4.2. Cost: layer l re-runs l value and l output projections.
// Source: docs/methods.md, methods 1 to 4.2.
#include "reference/methods/recompute_attn.h"

#include "reference/ops/add.h"

namespace assay::reference {
namespace {

// What of a layer's own pass stands beside attn/sum.
struct Beside {
  bool stream = true;    // X_l
  bool attn_out = true;  // O_l; in (7) and (8) it is a term of attn/sum, in (9) of nothing
};

Method recompute(Combine how, Beside beside, bool detach_stored) {
  Method method = plain_method();
  method.after_attention = [=](const Site& site, Node attn_out) {
    if (site.earlier.empty()) return site.stream + attn_out;
    std::vector<Node> again;  // o_{j>l} [B,T,D]
    for (const Layer& j : site.earlier) again.push_back(attention_again(site, j, detach_stored));
    const Node added = named(site, combine(site, how, again, attn_out), "attn/sum");  // [B,T,D]
    std::vector<Node> terms;
    if (beside.stream) terms.push_back(site.stream);
    if (beside.attn_out) terms.push_back(attn_out);
    terms.push_back(added);
    return sum(terms);  // [B,T,D]  (6) to (10)
  };
  return method;
}

}  // namespace

Method recompute_attn(Combine how, golden::Residual residual, bool detach_stored) {
  const bool keep = residual == golden::Residual::keep, apart = how == Combine::sum;
  return recompute(how, {.stream = keep, .attn_out = apart}, detach_stored);
}

Method plan_a() {  // (9)
  return recompute(Combine::sum, {.stream = true, .attn_out = false}, false);
}

Method plan_b() {  // (10)
  return recompute(Combine::sum, {.stream = true, .attn_out = true}, true);
}

}  // namespace assay::reference
