#include "reference/interpreters/value.h"

#include "reference/graph/op.h"
#include "reference/interpreters/walk.h"

namespace assay::reference {

Array value_of(const NodeData& node, const std::vector<Array>& operands) {
  const bool reuse = node.op->in_place() && operands[0].unique();
  Array value = reuse ? operands[0] : Array::uninitialized(node.shape());
  node.op->value(operands, value);
  return value;
}

void evaluate(const Graph& graph, const Bindings& bindings, Observer& observer,
              int64_t weight_bytes) {
  const WeightBudget budget(graph, needed_by_names(graph), weight_bytes);
  walk<Array>(
      graph, [&](const NodeData& input) { return bind(bindings, input); },
      [](int, const NodeData& node, const std::vector<Array>& operands) {
        return value_of(node, operands);
      },
      [&](const NodeData& node, Array value) { return observer.observe(node, std::move(value)); },
      &budget);
}

}  // namespace assay::reference
