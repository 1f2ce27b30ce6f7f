// Methods 5.1A to 5.1E, C-base and D-base: scores times a factor per element, key or query.
//
// With S_i = Q_i K_i^T the raw scores of layer i's own pass, m = l + 1:
//   (1)  A_l[t,s] = softmax( mask( sum_{i=0..l} f_i[t,s] S_i[t,s] / sqrt(Dh) ) ),  f_i[t,s] =
//        (A)  exp(W_i[t,s])   W in R^{m x P x P}        (D)  exp(g_i[t])
//        (B)  exp(w_i[s])     w in R^{m x P}            (E)  exp(g_i[s])
//        (C)  exp(w_i[t])     w in R^{m x P}
//   (2)  g = W2 GELU( W1 RMSNorm'( attn_norm_l(X_l) ) ) + b   [B,T,m], GELU exact, RMSNorm' with an
//                                                             eps of its own
//   (3)  A_l[t,s] = softmax( mask( S_l[t,s] / sqrt(Dh) (exp(w[t]) + 1) + c[t] ) )         C-base
//   (4)  A_l[t,s] = softmax( mask( S_l[t,s] / sqrt(Dh) exp(g[t]) ) ),  g of one output    D-base
// P is score_positions; a run of T <= P positions reads the leading part. In layer l the gate goes
// D -> m -> m, that of D-base D -> 1 -> 1 in every layer. In (3) c is constant along a row, so the
// softmax removes it: it changes the scores and nothing after them.
//
// In (E) the factor is computed from the key's position and belongs to the key: s <= t, so it is as
// causal as the key itself, and a decoder can keep it beside the key. Positions are mixed by A_l
// only. Cost: as method 5.1, and a gate of O(T D m) in (D), (E) and (4).
// Source: docs/methods.md, methods 5.1A to 5.1E, C-base and D-base.
#include "reference/methods/score_factors.h"

#include <cmath>

#include "golden/contract/error.h"
#include "reference/methods/score_accumulation.h"
#include "reference/ops/add.h"
#include "reference/ops/exponential.h"
#include "reference/ops/gelu.h"
#include "reference/ops/linear.h"
#include "reference/ops/query_bias.h"
#include "reference/ops/rms_norm.h"
#include "reference/ops/scale.h"
#include "reference/ops/weighted_sum.h"

namespace assay::reference {
namespace {

Node score_parameter(const Site& site, const char* name) {
  return learned(site, std::string("self_attn.score.") + name);
}

// (2): g [B,T,m], of D-base [B,T,1]
Node gate(const Site& site) {
  const Node norm = score_parameter(site, "gate.norm"), b = score_parameter(site, "gate.bias");
  const Node w1 = score_parameter(site, "gate.w1"), w2 = score_parameter(site, "gate.w2");
  const Node n = rms_norm(site.layer.attn_input, norm, site.config.score_gate_eps);  // [B,T,D]
  const Node inner = gelu(linear(n, w1), Gelu::exact);                               // [B,T,m]
  return linear(inner, w2, b, WeightLayout::out_in);                                 // (2)
}

// sum_i f_i S_i [B,H,T,T] with f = exp of what is learned or computed.
Node factored(const std::vector<Node>& scores, Node logs, Factor which) {
  return weighted_sum(scores, exponential(logs), which);
}

Node factored_scores(const Site& site) {
  const std::string& method = site.config.method;
  const std::vector<Node> own{site.layer.raw_scores}, all = scores_so_far(site);
  if (method == "5.1A") return factored(all, score_parameter(site, "w"), Factor::element);  // (A)
  if (method == "5.1B") return factored(all, score_parameter(site, "w"), Factor::key);      // (B)
  if (method == "5.1C") return factored(all, score_parameter(site, "w"), Factor::query);    // (C)
  if (method == "5.1D") return factored(all, gate(site), Factor::query_feature);            // (D)
  if (method == "5.1E") return factored(all, gate(site), Factor::key_feature);              // (E)
  if (method == "D-base") return factored(own, gate(site), Factor::query_feature);          // (4)
  ASSAY_CHECK(method == "C-base", method);
  // (3) without c and before 1/sqrt(Dh): exp(w[t]) S_l + S_l
  return factored(own, score_parameter(site, "w"), Factor::query) + site.layer.raw_scores;
}

}  // namespace

Method score_factors() {
  Method method = plain_method();
  method.scores = [](const Site& site) {
    const double root = std::sqrt(static_cast<double>(site.config.head_dim));
    const Node scores = scale(factored_scores(site), 1.0 / root);  // [B,H,T,T]  (1) (4)
    if (site.config.method != "C-base") return scores;
    return query_bias(scores, score_parameter(site, "c"));  // (3)
  };
  return method;
}

}  // namespace assay::reference
