#include "reference/interpreters/liveness.h"

#include <fmt/format.h>

#include "golden/contract/error.h"

namespace assay::reference {

std::vector<int> needed_by_names(const Graph& graph) {
  const int count = static_cast<int>(graph.nodes().size());
  std::vector<bool> needed(graph.nodes().size(), false);
  for (int id = count - 1; id >= 0; --id) {
    const NodeData& node = graph.node(id);
    if (!node.name.empty() && node.op != nullptr) needed[static_cast<std::size_t>(id)] = true;
    if (!needed[static_cast<std::size_t>(id)]) continue;
    for (const int input : node.inputs) needed[static_cast<std::size_t>(input)] = true;
  }
  std::vector<int> order;
  for (int id = 0; id < count; ++id) {
    if (needed[static_cast<std::size_t>(id)]) order.push_back(id);
  }
  return order;
}

std::vector<int> last_uses(const Graph& graph, const std::vector<int>& order) {
  std::vector<int> last(graph.nodes().size(), -1);
  for (const int id : order) {
    last[static_cast<std::size_t>(id)] = id;
    for (const int input : graph.node(id).inputs) last[static_cast<std::size_t>(input)] = id;
  }
  return last;
}

Array bind(const Bindings& bindings, const NodeData& input) {
  Array value = bindings(input);
  if (value.absent() || value.shape() != input.shape()) {
    throw InputError(fmt::format("{}: expected {}, got {}", input.name,
                                 golden::shape_text(input.shape()),
                                 value.absent() ? "nothing" : golden::shape_text(value.shape())));
  }
  return value;
}

}  // namespace assay::reference
