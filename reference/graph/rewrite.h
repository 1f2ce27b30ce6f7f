// A graph made from another one, node by node, some of them replaced: a defect, planted in a graph
// without a hook in the code that builds it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "reference/graph/graph.h"

namespace assay::reference {

// The copy of a graph in the making.
class Rewriting {
 public:
  Rewriting(const Graph& original, Graph& copy) : original_(original), copy_(copy) {}
  const Graph& original() const { return original_; }
  Graph& copy() const { return copy_; }
  // What became of a node of the original that is already copied.
  Node of(int original_id) const { return copies_.at(static_cast<std::size_t>(original_id)); }
  Node of(const std::string& name) const { return of(original_.find(name)); }
  void push(Node node) { copies_.push_back(node); }

 private:
  const Graph& original_;
  Graph& copy_;
  std::vector<Node> copies_;
};

// Returns the node to put in place of `node`, whose operands in the copy are `inputs`; nullopt
// copies it. The node in its place takes its name.
using Replace = std::function<std::optional<Node>(Rewriting& rewriting, const NodeData& node,
                                                  const std::vector<Node>& inputs)>;

std::unique_ptr<Graph> rewrite(const Graph& original, const Replace& replace);

}  // namespace assay::reference
