#include "reference/interpreters/weight_budget.h"

#include <algorithm>
#include <limits>

namespace assay::reference {

WeightBudget::WeightBudget(const Graph& graph, const std::vector<int>& order, int64_t bytes)
    : graph_(graph), bytes_(bytes), readers_(graph.nodes().size()) {
  for (const int id : order) {
    if (graph.node(id).weight) weights_.push_back(id);
    for (const int input : graph.node(id).inputs) {
      readers_[static_cast<std::size_t>(input)].push_back(id);
    }
  }
}

int64_t WeightBudget::bytes_of(int weight) const {
  return golden::element_count(graph_.node(weight).shape()) * static_cast<int64_t>(sizeof(double));
}

int WeightBudget::next_reader(int weight, int id) const {
  const std::vector<int>& readers = readers_[static_cast<std::size_t>(weight)];
  const auto next = std::upper_bound(readers.begin(), readers.end(), id);
  return next == readers.end() ? std::numeric_limits<int>::max() : *next;
}

std::vector<int> WeightBudget::surplus_of(int id, std::vector<int> held) const {
  std::vector<int> read;  // by `id`, each once
  for (const int input : graph_.node(id).inputs) {
    if (graph_.node(input).weight && std::find(read.begin(), read.end(), input) == read.end()) {
      read.push_back(input);
    }
  }
  if (read.empty()) return {};
  int64_t bytes = 0;  // that would be held
  for (const int weight : read) bytes += bytes_of(weight);
  std::erase_if(
      held, [&](int weight) { return std::find(read.begin(), read.end(), weight) != read.end(); });
  for (const int weight : held) bytes += bytes_of(weight);
  std::stable_sort(held.begin(), held.end(),
                   [&](int a, int b) { return next_reader(a, id) > next_reader(b, id); });
  std::vector<int> surplus;
  for (const int weight : held) {
    if (bytes <= bytes_) break;
    bytes -= bytes_of(weight);
    surplus.push_back(weight);
  }
  return surplus;
}

}  // namespace assay::reference
