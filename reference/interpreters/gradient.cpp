#include "reference/interpreters/gradient.h"

#include <algorithm>
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

// What gradient rules read: kept from the forward pass, or computed again by segments.
class KeptValues {
 public:
  KeptValues(const Graph& graph, const Bindings& bindings, const std::vector<bool>& wanted,
             const Segments& segments)
      : graph_(graph),
        bindings_(bindings),
        wanted_(wanted),
        segments_(segments),
        replaced_(graph.nodes().size(), false),
        kept_(graph.nodes().size()) {}

  // Of the forward pass, before node `id` is computed.
  void keep_operands(int id, const std::vector<Array>& operands) {
    const NodeData& node = graph_.node(id);
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      if (is_stored(node.inputs[i])) kept(node.inputs[i]) = operands[i];
    }
    for_kept_operands(graph_, wanted_, id, [&](std::size_t i) {
      const int input = node.inputs[i];
      const bool by_reader = segments_.of(id) < 0 && node.op->gradient_reads(i);
      if (segments_.empty() || by_reader || segments_.of(input) < 0) kept(input) = operands[i];
    });
  }

  // An observer put another value in its place, which no computation gives again.
  void is_replaced(const NodeData& node) {
    replaced_[static_cast<std::size_t>(graph_.find(node.name))] = true;
  }

  // Of the backward pass, before the gradient rule of node `id`.
  void enter(int id) {
    const int segment = segments_.of(id);
    if (segment == segment_) return;
    for (const int own : again_) kept(own) = Array();
    again_.clear();
    segment_ = segment;
    if (segment >= 0) compute_again(segment);
  }

  const Array& value(int id) { return kept(id); }
  void drop(int id) { kept(id) = Array(); }

 private:
  Array& kept(int id) { return kept_[static_cast<std::size_t>(id)]; }
  bool is_stored(int id) const {
    if (segments_.empty()) return false;
    const auto at = static_cast<std::size_t>(id);
    return segments_.stored[at] || replaced_[at];
  }

  // What the gradient rules of a segment read, and what that is computed from, back to what is at
  // hand.
  void compute_again(int segment) {
    std::vector<bool> read(graph_.nodes().size(), false);
    for (int id = segments_.first(segment); id <= segments_.last(segment); ++id) {
      const NodeData& node = graph_.node(id);
      if (!wanted_[static_cast<std::size_t>(id)] || node.op == nullptr) continue;
      for (std::size_t i = 0; i < node.inputs.size(); ++i) {
        if (node.op->gradient_reads(i)) read[static_cast<std::size_t>(node.inputs[i])] = true;
      }
      if (node.op->gradient_reads_result()) read[static_cast<std::size_t>(id)] = true;
    }
    std::vector<bool> needed = read;
    std::vector<int> order;
    for (int id = segments_.last(segment); id >= 0; --id) {
      const auto at = static_cast<std::size_t>(id);
      if (!needed[at] || !kept(id).absent()) continue;
      if (read[at]) again_.push_back(id);
      if (graph_.node(id).op == nullptr) {
        if (read[at]) kept(id) = bind(bindings_, graph_.node(id));
        continue;
      }
      order.push_back(id);
      for (const int input : graph_.node(id).inputs) needed[static_cast<std::size_t>(input)] = true;
    }
    std::reverse(order.begin(), order.end());
    walk<Array>(
        graph_, order, [&](const NodeData& node) { return at_hand(node); },
        [&](int id, const NodeData& node, const std::vector<Array>& operands) {
          Array result = value_of(node, operands);
          if (read[static_cast<std::size_t>(id)]) kept(id) = result;
          return result;
        },
        [](const NodeData&, Array value) { return value; });
  }

  Array at_hand(const NodeData& node) {
    const auto id = static_cast<int>(&node - graph_.nodes().data());
    return kept(id).absent() ? bind(bindings_, node) : kept(id);
  }

  const Graph& graph_;
  const Bindings& bindings_;
  const std::vector<bool>& wanted_;
  const Segments& segments_;
  std::vector<bool> replaced_;
  std::vector<Array> kept_;
  std::vector<int> again_;  // computed for the present segment
  int segment_ = -1;
};

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

int64_t evaluate_with_gradient(const Graph& graph, const Bindings& bindings, int loss,
                               Observer& observer, GradientObserver& gradients,
                               const Segments& segments) {
  ASSAY_CHECK(graph.node(loss).shape().empty(), golden::shape_text(graph.node(loss).shape()));
  const std::vector<bool> wanted = on_the_way(graph, loss);
  const int64_t before = live_bytes();
  KeptValues kept(graph, bindings, wanted, segments);
  walk<Array>(
      graph, [&](const NodeData& input) { return bind(bindings, input); },
      [&](int id, const NodeData& node, const std::vector<Array>& operands) {
        kept.keep_operands(id, operands);
        return value_of(node, operands);
      },
      [&](const NodeData& node, Array value) {
        const double* computed = value.data();
        Array seen = observer.observe(node, std::move(value));
        if (seen.data() != computed) kept.is_replaced(node);
        return seen;
      });
  const int64_t kept_bytes = live_bytes() - before;
  if (!wanted[static_cast<std::size_t>(loss)]) return kept_bytes;  // no weight reaches it
  run_backwards<Array>(
      graph, loss, wanted, zeros, [](Array& own) { own.data()[0] = 1.0; },
      [&](int id) {
        const Array& value = kept.value(id);
        return value.absent() ? Array::shape_only(graph.node(id).shape()) : value;
      },
      [&](int id, Array gradient) {
        const NodeData& node = graph.node(id);
        kept.enter(id);
        if (node.name.empty()) return gradient;
        gradients.observe_gradient(node, gradient);
        return gradients.pass_on(node, std::move(gradient));
      },
      [](const NodeData& node, const std::vector<Array>& operands, const Array& result,
         const Array& gradient, std::vector<Array>& operand_gradients) {
        node.op->gradient(operands, result, gradient, operand_gradients);
      },
      [&](int id) { kept.drop(id); });
  return kept_bytes;
}

}  // namespace assay::reference
