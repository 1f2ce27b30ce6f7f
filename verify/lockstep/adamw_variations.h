// AdamW as it is often written wrong: what a weight and its moments then are.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "reference/training/adamw.h"
#include "verify/lockstep/due_step.h"

namespace assay::verify {

// One element before the step, its unclipped gradient, and what the moments read of it.
struct VariedElement {
  double weight = 0, first = 0, second = 0, gradient = 0, clipped = 0;
  // Behind the step, as the subject handed them over; what is due where it does not.
  double new_first = 0, new_second = 0;
};

// All that is the same for the elements of a weight.
struct VariedStep {
  const reference::AdamwRule& rule;
  StepPlace place;
  double rate_before = 0, rate_after = 0;  // of the neighbouring steps; NaN: there is none
  double own_clip = 1;                     // by the norm of this tensor alone
  bool decays = false;
};

struct Variation {
  std::string what;  // "equals what is due .."
  std::function<double(const VariedStep& step, const VariedElement& x)> value;
};

// kind: "first/", "second/" or "weight/".
const std::vector<Variation>& variations_of(const std::string& kind);

}  // namespace assay::verify
