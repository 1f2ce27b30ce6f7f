#include "reference/graph/rewrite.h"

namespace assay::reference {

std::unique_ptr<Graph> rewrite(const Graph& original, const Replace& replace) {
  auto copy = std::make_unique<Graph>();
  Rewriting rewriting(original, *copy);
  for (const NodeData& node : original.nodes()) {
    if (node.op == nullptr) {
      rewriting.push(node.weight ? copy->weight(node.name, node.shape())
                                 : copy->input(node.name, node.shape(), node.result.axes));
      continue;
    }
    std::vector<Node> inputs;
    for (const int input : node.inputs) inputs.push_back(rewriting.of(input));
    const std::optional<Node> replaced = replace(rewriting, node, inputs);
    const Node made = replaced ? *replaced : copy->add(node.op, inputs);
    rewriting.push(node.name.empty() ? made : copy->name(made, node.name));
  }
  return copy;
}

}  // namespace assay::reference
