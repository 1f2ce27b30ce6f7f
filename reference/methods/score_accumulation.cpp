// Method 5.1: attention with the scores of all layers so far.
//
// With S_i = Q_i K_i^T the raw scores of layer i's own pass (after RoPE, before scale and mask):
//   (1)  A_l = softmax( mask( sum_{i=0..l} S_i / sqrt(Dh) ) )
//
// The mask comes once, after the sum, as a selection: a number added inside the sum could be scaled
// or outweighed. Everything else is the plain block; layer 0 equals it. Positions are mixed by A_l
// only. Cost: one [B,H,T,T] tensor of scores per layer is kept, O(L) memory; the sum is O(L^2 T^2)
// additions.
#include "reference/methods/score_accumulation.h"

#include <cmath>
#include <vector>

#include "reference/ops/add.h"
#include "reference/ops/scale.h"

namespace assay::reference {

Method score_accumulation() {
  Method method = plain_method();
  method.scores = [](const Site& site) {
    std::vector<Node> scores;  // S_i [B,H,T,T]
    for (const Layer& i : site.earlier) scores.push_back(i.raw_scores);
    scores.push_back(site.layer.raw_scores);
    return scale(sum(scores), 1.0 / std::sqrt(static_cast<double>(site.config.head_dim)));  // (1)
  };
  return method;
}

}  // namespace assay::reference
