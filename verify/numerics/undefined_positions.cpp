#include "verify/numerics/undefined_positions.h"

#include <algorithm>

#include "golden/contract/precision.h"

namespace assay::verify {
namespace {

// Attention scores of the causal mask, windows, and what is computed from them.
std::set<std::string> after_scores(const reference::Graph& graph) {
  std::set<std::string> names;
  std::vector<char> after(graph.nodes().size());
  for (std::size_t id = 0; id < after.size(); ++id) {
    const reference::NodeData& node = graph.node(static_cast<int>(id));
    after[id] = node.name.ends_with("attn/scores") || golden::is_window_size(node.name) ||
                std::any_of(node.inputs.begin(), node.inputs.end(),
                            [&](int input) { return after[static_cast<std::size_t>(input)]; });
    if (after[id] && !node.name.empty()) names.insert(node.name);
  }
  return names;
}

}  // namespace

UndefinedPositions::UndefinedPositions(const reference::Graph& graph, const Batch& batch)
    : undefined_(batch.attention_mask.size()), positions_(batch.positions) {
  for (std::size_t i = 0; i < undefined_.size(); ++i) {
    const bool first = i % static_cast<std::size_t>(positions_) == 0;
    undefined_[i] = batch.attention_mask[i] == 0 && (first || undefined_[i - 1]);
    count_ += undefined_[i];
    const bool predicted = !first && batch.labels[i] >= 0 && undefined_[i - 1];
    predictions_ += predicted;
  }
  if (count_ > 0) concerned_ = after_scores(graph);
}

std::function<bool(int64_t)> UndefinedPositions::in(const reference::NodeData& node) const {
  if (!concerned_.contains(node.name)) return {};
  if (is_loss_of_them(node.name)) return [](int64_t) { return true; };
  const std::size_t rows = node.result.axes.find('B'), queries = node.result.axes.find('T');
  if (rows != 0 || queries == std::string::npos) return {};
  const auto stride = [&](std::size_t axis) {
    int64_t elements = 1;
    for (std::size_t i = axis + 1; i < node.shape().size(); ++i) elements *= node.shape()[i];
    return elements;
  };
  return [this, row = stride(rows), query = stride(queries)](int64_t element) {
    const int64_t b = element / row, t = element / query % positions_;
    return undefined_[static_cast<std::size_t>(b * positions_ + t)] != 0;
  };
}

bool UndefinedPositions::is_loss_of_them(const std::string& name) const {
  return name == "loss" && predictions_ > 0;
}

}  // namespace assay::verify
