// What is due of a step, and by how much a subject may miss it.
//
// From the reference: loss, gradients and norm of the reference, and the update that they give.
// From the subject: the update that its own gradients give, each tensor from what the subject
//   itself handed over of what it is computed from: moments from its gradients and norm, weights
//   from its moments. What is left are a few roundings of the master type (adamw_bounds.h).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "reference/training/adamw.h"
#include "verify/lockstep/adamw_bounds.h"
#include "verify/lockstep/step_gradient.h"
#include "verify/statistics/compare.h"
#include "verify/subjects/training/training_subject.h"

namespace assay::verify {

struct DueTensor {
  reference::Array value, bound;  // bounds may be infinite
};

// By what a subject hands over: "loss", "grad_norm", "grad/<w>", "first/<w>", "second/<w>",
// "weight/<w>".
using DueStep = std::map<std::string, DueTensor>;

// How a state is known: deviations of its elements, by weight; absent: exactly.
struct StateDeviations {
  std::map<std::string, reference::Array> weights, first, second;
};

// All steps of a run share this.
struct LockstepRule {
  reference::AdamwRule adamw;
  TrainingArithmetic arithmetic;
  BoundRule tolerance;  // from a deviation to a bound
  double reach = 1;     // how many deviations that spans
};

struct StepPlace {
  int64_t number = 1;  // of the step, from 1
  double rate = 0;
};

// before: as the implementation holds it. deviations: of it, or none. after: where they are asked
// for, the deviations of the state behind the step.
DueStep due_from_reference(const LockstepRule& rule, const StepPlace& place,
                           const TrainingState& before, const StateDeviations* deviations,
                           const StepGradient& gradient, StateDeviations* after = nullptr);

// Only what can be told from what was handed over. A moment without its gradient is not among it;
// norm: the reference's, where the subject neither says its own nor hands over every gradient.
DueStep due_from_subject(const LockstepRule& rule, const StepPlace& place,
                         const TrainingState& before, const TrainedStep& step, Around norm);

// The gradient that a first moment was made from, against what is due of it; absent where the
// gradient itself is handed over or the moment is not.
struct RecoveredGradient {
  DueTensor due;
  std::vector<double> got;
};
std::map<std::string, RecoveredGradient> recovered_gradients(const LockstepRule& rule,
                                                             const TrainingState& before,
                                                             const StepGradient& gradient,
                                                             const TrainedStep& step);

// Whether the rule makes a weight of this shape in the checkpoint decay.
bool decays(const golden::Shape& shape);

// The next state of the reference's run, rounded to the master type.
TrainingState next_state(const LockstepRule& rule, const TrainingState& before, const DueStep& due);

}  // namespace assay::verify
