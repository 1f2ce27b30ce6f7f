#include "reference/interpreters/gradient.h"

#include <vector>

#include "golden/contract/error.h"
#include "reference/graph/op.h"
#include "reference/interpreters/backwards.h"
#include "reference/interpreters/walk.h"
#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

// Filled by all threads: a page costs most when it is touched first.
Array zeros(const Shape& shape) {
  Array array = Array::uninitialized(shape);
  for_elements(shape, 1, [&](int64_t i) { array.data()[i] = 0.0; });
  return array;
}

}  // namespace

std::vector<bool> on_the_way(const Graph& graph, int loss) {
  const std::size_t count = graph.nodes().size();
  std::vector<bool> from_weight(count, false), to_loss(count, false);
  for (std::size_t id = 0; id < count; ++id) {
    const NodeData& node = graph.node(static_cast<int>(id));
    from_weight[id] = node.weight;
    for (const int input : node.inputs) {
      if (from_weight[static_cast<std::size_t>(input)]) from_weight[id] = true;
    }
  }
  to_loss[static_cast<std::size_t>(loss)] = true;
  for (std::size_t id = count; id-- > 0;) {
    if (!to_loss[id]) continue;
    for (const int input : graph.node(static_cast<int>(id)).inputs) {
      to_loss[static_cast<std::size_t>(input)] = true;
    }
  }
  for (std::size_t id = 0; id < count; ++id) to_loss[id] = to_loss[id] && from_weight[id];
  return to_loss;
}

Array GradientObserver::pass_on(const NodeData& /*node*/, Array gradient) { return gradient; }

void evaluate_with_gradient(const Graph& graph, const Bindings& bindings, int loss,
                            Observer& observer, GradientObserver& gradients) {
  ASSAY_CHECK(graph.node(loss).shape().empty(), golden::shape_text(graph.node(loss).shape()));
  const std::vector<bool> wanted = on_the_way(graph, loss);
  std::vector<Array> kept(graph.nodes().size());  // what gradient rules read
  walk<Array>(
      graph, [&](const NodeData& input) { return bind(bindings, input); },
      [&](int id, const NodeData& node, const std::vector<Array>& operands) {
        for_kept_operands(graph, wanted, id, [&](std::size_t i) {
          kept[static_cast<std::size_t>(node.inputs[i])] = operands[i];
        });
        return value_of(node, operands);
      },
      [&](const NodeData& node, Array value) { return observer.observe(node, std::move(value)); });
  if (!wanted[static_cast<std::size_t>(loss)]) return;  // no weight reaches it
  run_backwards<Array>(
      graph, loss, wanted, zeros, [](Array& own) { own.data()[0] = 1.0; },
      [&](int id) {
        const Array& value = kept[static_cast<std::size_t>(id)];
        return value.absent() ? Array::shape_only(graph.node(id).shape()) : value;
      },
      [&](int id, Array gradient) {
        const NodeData& node = graph.node(id);
        if (node.name.empty()) return gradient;
        gradients.observe_gradient(node, gradient);
        return gradients.pass_on(node, std::move(gradient));
      },
      [](const NodeData& node, const std::vector<Array>& operands, const Array& result,
         const Array& gradient, std::vector<Array>& operand_gradients) {
        node.op->gradient(operands, result, gradient, operand_gradients);
      },
      [&](int id) { kept[static_cast<std::size_t>(id)] = Array(); });
}

}  // namespace assay::reference
