// The loop of every evaluating interpreter: nodes in order of computation, each operand bound when
// it is first read and freed after it is last read, weights sooner where there is a budget.
#pragma once

#include <utility>
#include <vector>

#include "reference/interpreters/liveness.h"
#include "reference/interpreters/weight_budget.h"

namespace assay::reference {

//   A          what the interpreter holds for a node; has absent()
//   bind       A bind(const NodeData& input): an input or weight of the graph
//   compute    A compute(int id, const NodeData& node, const std::vector<A>& operands)
//   observe    A observe(const NodeData& node, A result): for named nodes; later nodes read what it
//              returns
//   order      the nodes to visit (needed_by_names, needed_by); another that one of them reads is
//              bound
//   budget     of weights that are held; none without it
template <class A, class Bind, class Compute, class Observe>
void walk(const Graph& graph, const std::vector<int>& order, Bind&& bind, Compute&& compute,
          Observe&& observe, const WeightBudget* budget = nullptr) {
  const std::vector<int> last = last_uses(graph, order);
  std::vector<A> results(graph.nodes().size());
  const auto held = [&](int id) -> A& { return results[static_cast<std::size_t>(id)]; };
  for (const int id : order) {
    const NodeData& node = graph.node(id);
    if (node.op == nullptr) continue;  // bound by its first reader
    if (budget != nullptr) {
      const auto is_held = [&](int weight) { return !held(weight).absent(); };
      for (const int weight : budget->surplus(id, is_held)) held(weight) = A();
    }
    std::vector<A> operands;
    for (const int input : node.inputs) {
      if (held(input).absent()) held(input) = bind(graph.node(input));
      operands.push_back(held(input));
    }
    for (const int input : node.inputs) {  // apart, for a node may read one tensor twice
      if (last[static_cast<std::size_t>(input)] == id) held(input) = A();
    }
    A result = compute(id, node, operands);
    operands.clear();
    if (!node.name.empty()) result = observe(node, std::move(result));
    if (last[static_cast<std::size_t>(id)] != id) held(id) = std::move(result);
  }
}

// All that named nodes need.
template <class A, class Bind, class Compute, class Observe>
void walk(const Graph& graph, Bind&& bind, Compute&& compute, Observe&& observe,
          const WeightBudget* budget = nullptr) {
  walk<A>(graph, needed_by_names(graph), std::forward<Bind>(bind), std::forward<Compute>(compute),
          std::forward<Observe>(observe), budget);
}

}  // namespace assay::reference
