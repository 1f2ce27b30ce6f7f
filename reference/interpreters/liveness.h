// What the evaluating interpreters share: which nodes to visit, when a tensor is read last, and how
// a graph input gets its value.
#pragma once

#include <vector>

#include "reference/graph/graph.h"
#include "reference/interpreters/value.h"

namespace assay::reference {

// The nodes that some named node needs, in order of computation.
std::vector<int> needed_by_names(const Graph& graph);

// For each node id the id of the last node in `order` that reads it, or its own id: after that its
// tensor can be freed.
std::vector<int> last_uses(const Graph& graph, const std::vector<int>& order);

// The value of a graph input; throws InputError when it is missing or mis-shaped.
Array bind(const Bindings& bindings, const NodeData& input);

}  // namespace assay::reference
