// lost-mask: the whole model runs unmasked, as when the mask object is absent and the back end that
// would have masked by itself is not the one that runs.
#include "reference/graph/op.h"
#include "reference/ops/add.h"
#include "tests/mutants/mutant.h"

namespace assay::mutants {

Mutant lost_mask(const std::string& method) {
  return {.id = "lost-mask",
          .method = method,
          .replace = [](Rewriting&, const NodeData& node,
                        const std::vector<Node>& inputs) -> std::optional<Node> {
            if (node.op->name() != "causal_mask") return std::nullopt;
            return reference::sum({inputs[0]});
          },
          .leaks = true,
          .first_divergence = "layers/0/attn/scores",
          .diagnosis = "",
          .leak_at = "layers/0/attn/probs"};
}

}  // namespace assay::mutants
