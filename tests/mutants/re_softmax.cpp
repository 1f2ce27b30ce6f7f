// re-softmax: the stored probabilities are masked and softmaxed a second time before they are
// replayed, A_j <- softmax(mask(A_j)). Still causal, but with t allowed keys no weight exceeds
// e/(e+t-1).
#include "golden/contract/names.h"
#include "reference/ops/attend.h"
#include "reference/ops/mask.h"
#include "reference/ops/softmax.h"
#include "tests/mutants/mutant.h"

namespace assay::mutants {

Mutant re_softmax() {
  return {.id = "re-softmax",
          .method = "1",
          .replace = [](Rewriting& rewriting, const NodeData& node,
                        const std::vector<Node>& inputs) -> std::optional<Node> {
            if (!golden::matches("layers/*/recompute/*/context", node.name)) return std::nullopt;
            const Node again = softmax(causal_mask(inputs[0], rewriting.of("attention_mask")));
            return attend(again, inputs[1]);
          },
          .leaks = false,
          .first_divergence = "layers/1/recompute/0/context",
          .diagnosis = "softmax of the golden probabilities",
          .leak_at = ""};
}

}  // namespace assay::mutants
