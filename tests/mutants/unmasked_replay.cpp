// unmasked-replay: the probabilities of layer j are rebuilt from its scores without the mask, in
// the recompute path only. The first pass is clean; the future comes in through o_{j>l}.
#include "golden/contract/names.h"
#include "reference/ops/attend.h"
#include "reference/ops/softmax.h"
#include "tests/mutants/mutant.h"

namespace assay::mutants {

Mutant unmasked_replay() {
  return {.id = "unmasked-replay",
          .method = "1",
          .replace = [](Rewriting& rewriting, const NodeData& node,
                        const std::vector<Node>& inputs) -> std::optional<Node> {
            if (!golden::matches("layers/*/recompute/*/context", node.name)) return std::nullopt;
            // probs <- softmax <- causal_mask <- scaled scores
            const Graph& original = rewriting.original();
            const int masked = original.node(node.inputs[0]).inputs[0];
            const Node scaled = rewriting.of(original.node(masked).inputs[0]);
            return attend(softmax(scaled), inputs[1]);
          },
          .leaks = true,
          .first_divergence = "layers/1/recompute/0/context",
          .diagnosis = "",
          .leak_at = "layers/1/recompute/0/context"};
}

}  // namespace assay::mutants
