// wrong-layer-norm: when layer j is run again in layer l, its attention norm takes the gain of
// layer l.
#include "golden/contract/names.h"
#include "reference/graph/op.h"
#include "tests/mutants/mutant.h"

namespace assay::mutants {

Mutant wrong_layer_norm() {
  return {.id = "wrong-layer-norm",
          .method = "1",
          .replace = [](Rewriting& rewriting, const NodeData& node,
                        const std::vector<Node>& inputs) -> std::optional<Node> {
            if (!golden::matches("layers/*/recompute/*/attn_norm", node.name)) return std::nullopt;
            const std::string l = std::to_string(std::stoll(node.name.substr(7)));
            const Node gain = rewriting.of("model.layers." + l + ".input_layernorm.weight");
            return rewriting.copy().add(node.op, {inputs[0], gain});
          },
          .leaks = false,
          .first_divergence = "layers/1/recompute/0/attn_norm",
          .diagnosis = "model.layers.1.input_layernorm.weight",
          .leak_at = ""};
}

}  // namespace assay::mutants
