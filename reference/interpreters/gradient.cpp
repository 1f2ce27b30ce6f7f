#include "reference/interpreters/gradient.h"

#include <vector>

#include "golden/error.h"
#include "reference/interpreters/liveness.h"
#include "reference/ops/op.h"

namespace assay::reference {
namespace {

// Which nodes lie between a parameter and the loss: the others get no gradient.
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

}  // namespace

void evaluate_with_gradient(const Graph& graph, const Bindings& bindings, int loss,
                            Observer& observer, GradientObserver& gradients) {
  ASSAY_CHECK(graph.node(loss).shape().empty(), golden::shape_text(graph.node(loss).shape()));
  std::vector<Array> values(graph.nodes().size()), grads(graph.nodes().size());
  const std::vector<int> order = needed_by_names(graph);
  for (const int id : order) {
    const NodeData& node = graph.node(id);
    Array& value = values[static_cast<std::size_t>(id)];
    if (node.op == nullptr) {
      value = bind(bindings, node);
      continue;
    }
    std::vector<Array> operands;
    for (const int input : node.inputs) operands.push_back(values[static_cast<std::size_t>(input)]);
    value = Array::uninitialized(node.shape());
    node.op->value(operands, value);
    if (!node.name.empty()) value = observer.observe(node, std::move(value));
  }

  const std::vector<bool> wanted = on_the_way(graph, loss);
  if (!wanted[static_cast<std::size_t>(loss)]) return;  // no weight reaches it
  const auto gradient_of = [&](int id) -> Array& {
    Array& grad = grads[static_cast<std::size_t>(id)];
    if (wanted[static_cast<std::size_t>(id)] && grad.absent()) {
      grad = Array::zeros(graph.node(id).shape());
    }
    return grad;
  };
  gradient_of(loss).data()[0] = 1.0;
  for (int id = loss; id >= 0; --id) {
    const NodeData& node = graph.node(id);
    Array& grad = grads[static_cast<std::size_t>(id)];
    if (grad.absent()) continue;
    if (!node.name.empty()) gradients.observe_gradient(node, grad);
    if (node.op != nullptr) {
      // An operand read twice by one node (x + x) appears twice here with one storage, and adds
      // twice.
      std::vector<Array> operands, operand_grads;
      for (const int input : node.inputs) {
        operands.push_back(values[static_cast<std::size_t>(input)]);
        operand_grads.push_back(gradient_of(input));
      }
      node.op->gradient(operands, values[static_cast<std::size_t>(id)], grad, operand_grads);
    }
    grad = Array();
    values[static_cast<std::size_t>(id)] = Array();
  }
}

}  // namespace assay::reference
