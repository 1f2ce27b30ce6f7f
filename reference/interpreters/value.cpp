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

bool Observer::wants(const NodeData& /*node*/) { return true; }

void evaluate(const Graph& graph, const Bindings& bindings, Observer& observer,
              int64_t weight_bytes) {
  const auto wanted = [&](const NodeData& node) { return observer.wants(node); };
  const std::vector<int> order = needed_by(graph, wanted, [](const NodeData&) { return false; });
  const WeightBudget budget(graph, order, weight_bytes);
  walk<Array>(
      graph, order, [&](const NodeData& input) { return bind(bindings, input); },
      [](int, const NodeData& node, const std::vector<Array>& operands) {
        return value_of(node, operands);
      },
      [&](const NodeData& node, Array value) {
        return wanted(node) ? observer.observe(node, std::move(value)) : value;
      },
      &budget);
}

}  // namespace assay::reference
