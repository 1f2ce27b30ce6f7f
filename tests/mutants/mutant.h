// Planted defects: known-wrong forms of the methods, made by rewriting the reference's graph, so
// that no production code carries a hook for them. Each has a clean twin: the graph it was made
// from.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "reference/graph/rewrite.h"

namespace assay::mutants {

using reference::Graph;
using reference::Node;
using reference::NodeData;
using reference::Replace;
using reference::rewrite;
using reference::Rewriting;

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
