// Evaluates a graph in double precision, node by node, freeing each tensor after its last use.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "reference/graph/graph.h"
#include "reference/numbers/array.h"

namespace assay::reference {

// Gives the graph's inputs by name, weights included, when they are needed.
using Bindings = std::function<Array(const NodeData& input)>;

// Sees every named node as soon as it is computed. What observe() returns is what later nodes read:
// return `value` itself to watch, another array of the same shape to force.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual Array observe(const NodeData& node, Array value) = 0;
  // Whether a named node is to be observed. What no wanted node needs is not computed.
  virtual bool wants(const NodeData& node);
};

// The result of one node. It takes the first operand's storage where the operation allows that and
// nobody else holds it.
Array value_of(const NodeData& node, const std::vector<Array>& operands);

inline constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

// Nodes that no wanted node needs are not evaluated. Memory is the live set, in which weights take
// at most weight_bytes, or what one node reads: beyond that they are let go and asked for again, so
// that `bindings` gives a weight any number of times, the same values each time.
void evaluate(const Graph& graph, const Bindings& bindings, Observer& observer,
              int64_t weight_bytes = kNoLimit);

}  // namespace assay::reference
