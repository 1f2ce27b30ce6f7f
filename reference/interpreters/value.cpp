#include "reference/interpreters/value.h"

#include "reference/interpreters/walk.h"
#include "reference/ops/op.h"

namespace assay::reference {

void evaluate(const Graph& graph, const Bindings& bindings, Observer& observer) {
  walk<Array>(
      graph, [&](const NodeData& input) { return bind(bindings, input); },
      [](int, const NodeData& node, const std::vector<Array>& operands) {
        Array value = Array::uninitialized(node.shape());
        node.op->value(operands, value);
        return value;
      },
      [&](const NodeData& node, Array value) { return observer.observe(node, std::move(value)); });
}

}  // namespace assay::reference
