#include "reference/methods/recompute.h"

#include "golden/contract/names.h"
#include "reference/ops/add.h"
#include "reference/ops/attend.h"
#include "reference/ops/detach.h"
#include "reference/ops/scale.h"
#include "reference/ops/softmax.h"
#include "reference/ops/weighted_sum.h"

namespace assay::reference {
namespace {

Node again(const Site& site, const Layer& j, Node node, const std::string& tensor) {
  return node.graph->name(node, golden::recompute_name(site.layer.index, j.index, tensor));
}

}  // namespace

Node attention_again(const Site& site, const Layer& j, bool detach_stored) {
  const Node probs = detach_stored ? detach(j.probs) : j.probs;  // [B,H,T,T]
  const Node x = site.stream;                                    // [B,T,D]
  const Node h = j.attn_norm ? again(site, j, j.attn_norm(x), "attn_norm") : x;
  const Node v = again(site, j, j.value_heads(h), "v");              // [B,Hkv,T,Dh]
  const Node context = again(site, j, attend(probs, v), "context");  // [B,T,H*Dh]
  return again(site, j, j.attn_out(context), "attn_out");            // [B,T,D]     (1)
}

Node mlp_again(const Site& site, const Layer& j, bool detach_stored) {
  const Node o = attention_again(site, j, detach_stored);                       // [B,T,D]
  const Node n = again(site, j, j.mlp_norm(site.stream + o), j.mlp_norm_name);  // [B,T,D]
  const Node act = again(site, j, j.mlp_act(n), "mlp_act");                     // [B,T,F]
  return again(site, j, j.mlp_out(act), "mlp_out");                             // [B,T,D]     (2)
}

Node combine(const Site& site, Combine how, std::vector<Node> again, Node own) {
  if (how == Combine::sum) return sum(again);  // (3) (6) (9) (10)
  again.push_back(own);                        // m terms
  const double m = static_cast<double>(again.size());
  if (how == Combine::mean) return scale(sum(again), 1.0 / m);       // (4) (7)
  return weighted_sum(again, softmax(learned(site, "mix.weight")));  // (5) (8)
}

}  // namespace assay::reference
