// full-recursion: layer j is run again on what layer j-1, itself run again, has produced, instead
// of on X_l. Only for j >= 1: the first recomputed layer still reads X_l.
#include "golden/contract/names.h"
#include "reference/graph/op.h"
#include "reference/ops/add.h"
#include "tests/mutants/mutant.h"

namespace assay::mutants {

Mutant full_recursion() {
  return {.id = "full-recursion",
          .method = "1",
          .replace = [](Rewriting& rewriting, const NodeData& node,
                        const std::vector<Node>& inputs) -> std::optional<Node> {
            if (!golden::matches("layers/*/recompute/*/attn_norm", node.name)) return std::nullopt;
            const std::size_t slash = node.name.find("/recompute/") + 11;
            const int64_t l = std::stoll(node.name.substr(7)),
                          j = std::stoll(node.name.substr(slash));
            if (j == 0) return std::nullopt;
            const Node before = rewriting.of(golden::recompute_name(l, j - 1, "mlp_out"));
            return rewriting.copy().add(node.op, {inputs[0] + before, inputs[1]});
          },
          .leaks = false,
          .first_divergence = "layers/2/recompute/1/attn_norm",
          .diagnosis = "",
          .leak_at = ""};
}

}  // namespace assay::mutants
