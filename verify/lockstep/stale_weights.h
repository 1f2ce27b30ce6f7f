// Does the model read the weights of the step? Where the optimizer's weights never reach it, or a
// step late, gradients are those of other weights, and in 16 bits each element by itself may be
// within its bound.
//
// With e the error of the gradients, d the difference between those of the older weights and those
// that are due, and sigma the deviations, over all elements of all weights:
//   (1)  slope = sum e d / sigma^2 / sum d^2 / sigma^2,   deviation 1 / sqrt(sum d^2 / sigma^2)
// It is 0 where the weights of the step are read and 1 where the older ones are. A line through the
// middle, 1/2, tells them apart where the bound of the slope is below it.
#pragma once

#include <algorithm>
#include <cmath>

#include "verify/lockstep/step_gradient.h"

namespace assay::verify {

struct Staleness {
  double slope = 0;
  double bound = 0;  // infinite where older weights give the same gradients

  bool tells() const { return bound < 0.5; }
  bool is_stale() const { return tells() && !(slope < 0.5); }
  // 1 but for the bound, and for what went wrong besides: another defect may lean that way.
  bool is_of_older() const { return is_stale() && std::abs(slope - 1) <= std::max(bound, 0.05); }
};

// The same of the loss, where gradients are not handed over.
Staleness staleness_of_loss(const StepGradient& due, const StepGradient& older, double handed,
                            double reach);

// handed: gradients of all weights.
Staleness staleness(const StepGradient& due, const StepGradient& older, const Tensors& handed,
                    double reach);

}  // namespace assay::verify
