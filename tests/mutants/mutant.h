// Planted defects: known-wrong forms of the methods, made by rewriting the reference's graph, so
// that no production code carries a hook for them. Each has a clean twin: the graph it was made
// from.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "reference/graph/graph.h"

namespace assay::mutants {

using reference::Graph;
using reference::Node;
using reference::NodeData;

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
// copies it.
using Replace = std::function<std::optional<Node>(Rewriting& rewriting, const NodeData& node,
                                                  const std::vector<Node>& inputs)>;

std::unique_ptr<Graph> rewrite(const Graph& original, const Replace& replace);

struct Mutant {
  std::string id;      // as in docs/methods.md, "Forms that are wrong"
  std::string method;  // the method it is planted in
  Replace replace;
  bool leaks = false;            // whether it sees the future
  std::string first_divergence;  // the checkpoint a verifier must name first
  std::string diagnosis;         // words its diagnosis must contain; "" if none is asked for
  std::string leak_at;           // node the structural proof must name (part of its description)
};

// One file each. (j>l) is layer j run again in layer l.
Mutant dependents_message();
Mutant full_recursion();
Mutant lost_mask(const std::string& method);
Mutant masked_sum();
Mutant re_softmax();
Mutant silent_fallback();
Mutant transposed_replay();
Mutant unmasked_replay();
Mutant wrong_layer_norm();

std::vector<Mutant> all_mutants();

}  // namespace assay::mutants
