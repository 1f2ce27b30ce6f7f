// One operation on numbers: what tests worked by hand compare with.
#pragma once

#include <fmt/format.h>

#include <string>
#include <vector>

#include "reference/graph/graph.h"
#include "reference/graph/op.h"

namespace assay::reference::testing {

struct Value {
  Shape shape;
  std::string axes;
  std::vector<double> values;
};

// The value of the node that `build` makes of inputs with these values.
template <class Build>
std::vector<double> value_of(const std::vector<Value>& operands, Build&& build) {
  Graph graph;
  std::vector<Node> nodes;
  std::vector<Array> arrays;
  for (const Value& operand : operands) {
    nodes.push_back(graph.input(fmt::format("x{}", nodes.size()), operand.shape, operand.axes));
    arrays.push_back(Array::copy_of(operand.shape, operand.values));
  }
  const Node node = build(nodes);
  Array out = Array::uninitialized(node.shape());
  node.data().op->value(arrays, out);
  return {out.values().begin(), out.values().end()};
}

}  // namespace assay::reference::testing
