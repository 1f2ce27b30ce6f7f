// Turns "differs" into "equals .. with .. replaced by ..": a dictionary of mechanisms, tried on
// every node of the piece of the graph between the failing checkpoint and the values that it
// started from.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "verify/numerics/subgraph.h"

namespace assay::verify {

// One mechanism at one node of the graph.
struct Hypothesis {
  int at = -1;
  std::string claim;  // "zero", or "layers/0/attn/probs replaced by ..": what follows "equals"
  Rebuild::Edit edit;
};

// The dictionary for a target, most specific first: on the target's own value, then on what it is
// computed from, nearest first.
std::vector<Hypothesis> hypotheses(const reference::Graph& graph, const Cut& cut, int target);

// The first hypothesis whose value agrees with the candidate everywhere within its worst-case
// bound, while the unchanged reference does not agree even under that bound: "equals ..". Next best
// is one that agrees wherever the candidate is outside ("where it is outside, equals .."), so that
// a defect of one head or one tile has a name too; "" if there is none. A tensor of a few elements,
// such as the loss, agrees with something by chance: there a cause is named only if it is the only
// one that fits. Elements where `undefined` holds do not count.
std::string diagnose(const reference::Graph& graph, const Cut& cut, int target,
                     const golden::PrecisionSchedule& schedule, std::span<const double> candidate,
                     const std::function<bool(int64_t element)>& undefined = {});

}  // namespace assay::verify
