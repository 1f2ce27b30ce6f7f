// Evaluates a graph together with a bound on the rounding error that an implementation with a given
// precision schedule makes: running error analysis (Higham, "Accuracy and Stability of Numerical
// Algorithms", 2nd ed., section 3.3), or its standard deviation under independent roundings.
// Operations that bend are enclosed, whatever the size of the error.
#pragma once

#include "golden/contract/precision.h"
#include "reference/graph/op.h"
#include "reference/interpreters/value.h"

namespace assay::reference {

class ErrorObserver {
 public:
  virtual ~ErrorObserver() = default;
  // error: elementwise bound (or standard deviation) of an implementation's value of this node, its
  // rounding to the storage type included. To force the node, assign value and make error absent
  // (later nodes then start from an exact value).
  virtual void observe(const NodeData& node, Array& value, Array& error) = 0;
  // The error that an input or weight starts with; absent: it is exact.
  virtual Array error_of_input(const NodeData& node, const Array& value);
};

// reach: how many deviations the bound spans that the caller makes of them (ErrorModel).
//
// Named nodes are rounded to the schedule's storage type, unnamed ones stay in the accumulator
// type, unless the schedule is eager.
void evaluate_with_error(const Graph& graph, const Bindings& bindings,
                         const golden::PrecisionSchedule& schedule, ErrorNorm norm,
                         ErrorObserver& observer, double reach = 1);

}  // namespace assay::reference
