#include "reference/interpreters/liveness.h"

#include <fmt/format.h>

#include "golden/contract/error.h"

namespace assay::reference {

std::vector<int> needed_by_names(const Graph& graph) {
  return needed_by(
      graph, [](const NodeData&) { return true; }, [](const NodeData&) { return false; });
}

std::vector<int> needed_by(const Graph& graph, const AskedOfNode& wanted,
                           const AskedOfNode& given) {
  const int count = static_cast<int>(graph.nodes().size());
  std::vector<bool> needed(graph.nodes().size(), false);
  for (int id = count - 1; id >= 0; --id) {
    const NodeData& node = graph.node(id);
    const auto at = static_cast<std::size_t>(id);
    const bool named = !node.name.empty() && node.op != nullptr;
    if (named && wanted(node)) {
      needed[at] = true;
    } else if (named && needed[at] && given(node)) {
      needed[at] = false;
    }
    if (!needed[at]) continue;
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
