// What the evaluating interpreters share: which nodes to visit, when a tensor is read last, and how
// a graph input gets its value.
#pragma once

#include <functional>
#include <vector>

#include "reference/graph/graph.h"
#include "reference/interpreters/value.h"

namespace assay::reference {

// The nodes that some named node needs, in order of computation.
std::vector<int> needed_by_names(const Graph& graph);

// The nodes that a wanted named node needs, in order of computation, up to the given ones: what
// these are computed from is needed only where they are wanted themselves. A node that is given and
// not wanted is not among them: it is bound like an input by whoever reads it.
using AskedOfNode = std::function<bool(const NodeData& node)>;
std::vector<int> needed_by(const Graph& graph, const AskedOfNode& wanted, const AskedOfNode& given);

// For each node id the id of the last node in `order` that reads it, or its own id: after that its
// tensor can be freed.
std::vector<int> last_uses(const Graph& graph, const std::vector<int>& order);

// The value of a graph input; throws InputError when it is missing or mis-shaped.
Array bind(const Bindings& bindings, const NodeData& input);

}  // namespace assay::reference
