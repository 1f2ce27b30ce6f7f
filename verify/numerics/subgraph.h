// A piece of a reference graph computed again, with one thing changed: what a suspected defect
// would do.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "golden/contract/precision.h"
#include "reference/graph/graph.h"
#include "reference/interpreters/value.h"

namespace assay::verify {

// Names of the nearest named nodes that a node reads, graph inputs and weights included, without
// repetition, in order of computation.
std::vector<std::string> named_inputs(const reference::Graph& graph, int id);

// Where computing a node starts if `given` says of which named nodes the value is at hand.
struct Start {
  std::vector<std::string> inputs;   // given nodes and graph inputs, weights excepted
  std::vector<std::string> between;  // named nodes between those and the node, neither included
};
Start start_of(const reference::Graph& graph, int id,
               const std::function<bool(const std::string& name)>& given);

// Names of the operations between those and the node, in order of computation: "linear,
// split_heads".
std::vector<std::string> operations_inside(const reference::Graph& graph, int id);

// Where a piece of the graph begins, and with which values.
struct Cut {
  // Whether a named node's value is given. Graph inputs and weights always are.
  std::function<bool(const std::string& name)> given;
  std::function<reference::Array(const reference::NodeData& node)> value;
  // The errors that a given value and a weight start with; empty: none.
  std::function<reference::Array(const std::string& name, const reference::Array& value)> error =
      {};
  std::function<reference::Array(const reference::NodeData& weight, const reference::Array& value)>
      weight_error = {};
};

struct Recomputed {
  std::vector<double> value, bound;  // bound: worst case
};

// Copies what one node needs into a graph of its own.
class Rebuild {
 public:
  using Edit = std::function<reference::Node(Rebuild& rebuild, reference::Node original)>;

  Rebuild(const reference::Graph& from, const Cut& cut);

  // From here on every reader of node `id` reads what `edit` makes of it.
  void edit(int id, Edit edit);

  reference::Node copy(int id);    // a given node becomes an input of the new graph
  reference::Node expand(int id);  // computed from its own inputs even if it is given
  // A new parameter with these values.
  reference::Node parameter(const reference::NodeData& like, reference::Array values);

  const reference::Graph& source() const { return from_; }
  Recomputed evaluate(int target, const golden::PrecisionSchedule& schedule);

 private:
  reference::Node make(int id, bool may_cut);

  const reference::Graph& from_;
  const Cut& cut_;
  reference::Graph graph_;
  std::map<int, reference::Node> copies_;
  std::map<std::string, reference::Array> parameters_;
  int edited_ = -1;
  Edit edit_;
};

// The nodes that computing `target` again from the cut takes, the given ones and the target
// included; latest first.
std::vector<int> scope_of(const reference::Graph& graph, const Cut& cut, int target);

}  // namespace assay::verify
