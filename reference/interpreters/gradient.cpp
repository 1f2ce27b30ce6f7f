#include "reference/interpreters/gradient.h"

#include <vector>

#include "golden/contract/error.h"
#include "reference/graph/op.h"
#include "reference/interpreters/walk.h"
#include "reference/ops/rules.h"

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

// Filled by all threads: a page costs most when it is touched first.
Array zeros(const Shape& shape) {
  Array array = Array::uninitialized(shape);
  for_elements(shape, 1, [&](int64_t i) { array.data()[i] = 0.0; });
  return array;
}

// The tensors that gradient rules read, filled while the values are computed.
class Tape {
 public:
  Tape(const Graph& graph, const std::vector<bool>& wanted)
      : graph_(graph), wanted_(wanted), values_(graph.nodes().size()) {}

  // Keeps what the rule of `id` reads: operands, and its own result, when a reader brings it.
  void keep(int id, const std::vector<Array>& operands) {
    const NodeData& node = graph_.node(id);
    for (std::size_t i = 0; i < operands.size(); ++i) {
      const auto input = static_cast<std::size_t>(node.inputs[i]);
      const NodeData& made = graph_.node(node.inputs[i]);
      const bool by_reader = wanted_[static_cast<std::size_t>(id)] && node.op->gradient_reads(i);
      const bool by_maker =
          wanted_[input] && made.op != nullptr && made.op->gradient_reads_result();
      if (by_reader || by_maker) values_[input] = operands[i];
    }
  }

  // The kept tensor, or its shape alone.
  Array read(int id) const {
    const Array& value = values_[static_cast<std::size_t>(id)];
    return value.absent() ? Array::shape_only(graph_.node(id).shape()) : value;
  }

  void drop(int id) { values_[static_cast<std::size_t>(id)] = Array(); }

 private:
  const Graph& graph_;
  const std::vector<bool>& wanted_;
  std::vector<Array> values_;
};

// From the loss backwards: every node has its whole gradient when it is reached, because all that
// read it come later in the graph.
void run_backwards(const Graph& graph, int loss, const std::vector<bool>& wanted, Tape& tape,
                   GradientObserver& observer) {
  std::vector<Array> grads(graph.nodes().size());
  const auto gradient_of = [&](int id) -> Array& {
    Array& grad = grads[static_cast<std::size_t>(id)];
    if (wanted[static_cast<std::size_t>(id)] && grad.absent()) {
      grad = zeros(graph.node(id).shape());
    }
    return grad;
  };
  gradient_of(loss).data()[0] = 1.0;
  for (int id = loss; id >= 0; --id) {
    const NodeData& node = graph.node(id);
    Array& grad = grads[static_cast<std::size_t>(id)];
    if (!grad.absent()) {
      if (!node.name.empty()) observer.observe_gradient(node, grad);
      if (node.op != nullptr) {
        // An operand read twice by one node (x + x) appears twice here with one storage, and adds
        // twice.
        std::vector<Array> operands, operand_grads;
        for (const int input : node.inputs) {
          operands.push_back(tape.read(input));
          operand_grads.push_back(gradient_of(input));
        }
        node.op->gradient(operands, tape.read(id), grad, operand_grads);
      }
      grad = Array();
    }
    tape.drop(id);
  }
}

}  // namespace

void evaluate_with_gradient(const Graph& graph, const Bindings& bindings, int loss,
                            Observer& observer, GradientObserver& gradients) {
  ASSAY_CHECK(graph.node(loss).shape().empty(), golden::shape_text(graph.node(loss).shape()));
  const std::vector<bool> wanted = on_the_way(graph, loss);
  Tape tape(graph, wanted);
  walk<Array>(
      graph, [&](const NodeData& input) { return bind(bindings, input); },
      [&](int id, const NodeData& node, const std::vector<Array>& operands) {
        tape.keep(id, operands);
        return value_of(node, operands);
      },
      [&](const NodeData& node, Array value) { return observer.observe(node, std::move(value)); });
  if (!wanted[static_cast<std::size_t>(loss)]) return;  // no weight reaches it
  run_backwards(graph, loss, wanted, tape, gradients);
}

}  // namespace assay::reference
