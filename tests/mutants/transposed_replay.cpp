// transposed-replay: A_j^T is applied when layer j is run again, so a position reads from its
// future.
#include "golden/contract/names.h"
#include "reference/ops/attend.h"
#include "tests/mutants/mutant.h"
#include "tests/mutants/transpose_keys.h"

namespace assay::mutants {

Mutant transposed_replay() {
  return {.id = "transposed-replay",
          .method = "1",
          .replace = [](Rewriting& rewriting, const NodeData& node,
                        const std::vector<Node>& inputs) -> std::optional<Node> {
            if (!golden::matches("layers/*/recompute/*/context", node.name)) return std::nullopt;
            const Node turned =
                rewriting.copy().add(std::make_shared<TransposeKeys>(), {inputs[0]});
            return attend(turned, inputs[1]);
          },
          .leaks = true,
          .first_divergence = "layers/1/recompute/0/context",
          .diagnosis = "transpose",
          .leak_at = "layers/1/recompute/0/context"};
}

}  // namespace assay::mutants
