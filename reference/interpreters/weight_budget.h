// A bound on the weights that an evaluation holds at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "reference/graph/graph.h"

namespace assay::reference {

// Weights that are held for later readers are let go when they take more than `bytes`, counted as
// doubles; whoever reads one again binds it again. What one node reads always stays, however much
// it is. Of the others the one whose next reader is farthest away goes first: the order of
// computation is known, so no other choice binds fewer times (L. A. Belady, "A study of replacement
// algorithms for a virtual-storage computer", 1966).
class WeightBudget {
 public:
  // `order` is the order of computation.
  WeightBudget(const Graph& graph, const std::vector<int>& order, int64_t bytes);

  // Before `id` binds its operands: which of the weights that `is_held` names are to be let go.
  template <class IsHeld>
  std::vector<int> surplus(int id, IsHeld&& is_held) const {
    std::vector<int> held;
    for (const int weight : weights_) {
      if (is_held(weight)) held.push_back(weight);
    }
    return surplus_of(id, std::move(held));
  }

 private:
  std::vector<int> surplus_of(int id, std::vector<int> held) const;
  int64_t bytes_of(int weight) const;
  int next_reader(int weight, int id) const;

  const Graph& graph_;
  int64_t bytes_;
  std::vector<int> weights_;
  std::vector<std::vector<int>> readers_;  // of each node, ascending
};

}  // namespace assay::reference
