// Evaluates a graph in double precision, node by node, freeing each tensor after its last use.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "reference/array.h"
#include "reference/graph.h"

namespace assay::reference {

// Gives the graph's inputs by name, weights included, when they are first needed.
using Bindings = std::function<Array(const NodeData& input)>;

// Sees every named node as soon as it is computed. What observe() returns is what later nodes read:
// return `value` itself to watch, another array of the same shape to force.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual Array observe(const NodeData& node, Array value) = 0;
};

// The result of one node. It takes the first operand's storage where the operation allows that and
// nobody else holds it.
Array value_of(const NodeData& node, const std::vector<Array>& operands);

// Nodes that no named node needs are not evaluated. Memory is the live set.
void evaluate(const Graph& graph, const Bindings& bindings, Observer& observer);

}  // namespace assay::reference
