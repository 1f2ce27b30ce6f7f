// masked-sum: the mask is a finite number added to every S_i inside the cumulative sum, and nothing
// masks afterwards. Before scaling -80 is -28 at Dh = 8: small enough that its exponential still
// counts.
#include "reference/graph/op.h"
#include "reference/ops/add.h"
#include "tests/mutants/finite_mask.h"
#include "tests/mutants/mutant.h"

namespace assay::mutants {

Mutant masked_sum() {
  return {.id = "masked-sum",
          .method = "5.1",
          .replace = [](Rewriting& rewriting, const NodeData& node,
                        const std::vector<Node>& inputs) -> std::optional<Node> {
            if (node.op->name() == "causal_mask") return reference::sum({inputs[0]});
            if (node.op->name() != "attention_scores") return std::nullopt;
            const Node scores = rewriting.copy().add(node.op, inputs);
            return rewriting.copy().add(std::make_shared<FiniteMask>(-80.0), {scores});
          },
          .leaks = true,
          .first_divergence = "layers/0/attn/scores",
          .diagnosis = "",
          .leak_at = "layers/0/attn/probs"};
}

}  // namespace assay::mutants
