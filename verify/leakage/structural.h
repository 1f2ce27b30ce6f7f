// Structural proof of causality: what a graph's outputs can depend on, for every value of its
// inputs.
//
// Each operation has a rule that says which sources each cell of its result can depend on; the
// proof is the composition of these rules. It speaks of the method's graph, not of an
// implementation of it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "reference/graph/graph.h"
#include "verify/verdict.h"

namespace assay::verify {

// Whether query position t may depend on position s. Default: s <= t.
using Allowed = std::function<bool(int64_t t, int64_t s)>;

// One forbidden dependence.
struct Leak {
  std::string node;  // Graph::describe: a tensor's name, or an operation and the tensor it leads to
  std::string op;    // "softmax"
  std::string input;  // "tokens", "attention_mask" or "labels"
  int64_t b = 0;
  int64_t t = 0;  // query position that sees ..
  int64_t from_b = 0;
  int64_t s = 0;  // .. this position
};

struct ProofResult {
  Check check;
  int64_t nodes = 0;  // examined
  int64_t cells = 0;
  bool leaks = false;
  Leak first;                        // in order of computation; lowest t, then lowest s
  std::vector<std::string> witness;  // from the leaking cell back to the source, one node a line
};

// A cell of query position t may depend on allowed positions of tokens and attention_mask in its
// own row of the batch; a cell of a (t,s) pair also on what s may depend on; labels reach the
// scalar loss only. A graph whose logits do not depend on the tokens at all is inconclusive, not
// proven.
ProofResult prove_causality(const reference::Graph& graph, const Allowed& allowed = {});

}  // namespace assay::verify
