#include "reference/interpreters/value.h"

#include <vector>

#include "reference/interpreters/liveness.h"
#include "reference/ops/op.h"

namespace assay::reference {

void evaluate(const Graph& graph, const Bindings& bindings, Observer& observer) {
  const std::vector<int> order = needed_by_names(graph);
  const std::vector<int> last = last_uses(graph, order);
  std::vector<Array> values(graph.nodes().size());
  for (const int id : order) {
    const NodeData& node = graph.node(id);
    Array& value = values[static_cast<std::size_t>(id)];
    if (node.op == nullptr) continue;  // bound by its first reader
    std::vector<Array> operands;
    for (const int input : node.inputs) {
      Array& operand = values[static_cast<std::size_t>(input)];
      if (operand.absent()) operand = bind(bindings, graph.node(input));
      operands.push_back(operand);
    }
    for (const int input : node.inputs) {  // apart, for a node may read one tensor twice
      if (last[static_cast<std::size_t>(input)] == id) values[static_cast<std::size_t>(input)] = {};
    }
    value = Array::uninitialized(node.shape());
    node.op->value(operands, value);
    operands.clear();
    if (!node.name.empty()) value = observer.observe(node, std::move(value));
    if (last[static_cast<std::size_t>(id)] == id) value = Array();
  }
}

}  // namespace assay::reference
