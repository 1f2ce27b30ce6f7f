// silent-fallback: the stored probabilities are missing, so the sum over earlier layers is empty
// and every layer quietly turns plain. The recomputed tensors that are dumped are right; they are
// just not used.
#include "golden/contract/names.h"
#include "reference/ops/add.h"
#include "tests/mutants/mutant.h"

namespace assay::mutants {

Mutant silent_fallback() {
  return {.id = "silent-fallback",
          .method = "1",
          .replace = [](Rewriting&, const NodeData& node,
                        const std::vector<Node>& inputs) -> std::optional<Node> {
            if (!golden::matches("layers/*/output", node.name) || inputs.size() != 3) {
              return std::nullopt;
            }
            return inputs[0] + inputs[1];
          },
          .leaks = false,
          .first_divergence = "layers/1/output",
          .diagnosis = "",
          .leak_at = ""};
}

}  // namespace assay::mutants
