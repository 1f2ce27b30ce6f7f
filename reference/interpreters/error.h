// Evaluates a graph together with a bound on the rounding error that an implementation with a given
// precision schedule makes: running error analysis (Higham, "Accuracy and Stability of Numerical
// Algorithms", 2nd ed., section 3.3), or its standard deviation under independent roundings.
// Operations that bend are enclosed, whatever the size of the error.
#pragma once

#include <utility>
#include <vector>

#include "golden/contract/precision.h"
#include "reference/graph/op.h"
#include "reference/interpreters/value.h"

namespace assay::reference {

class ErrorObserver {
 public:
  virtual ~ErrorObserver() = default;
  // error: elementwise bound (or standard deviation) of an implementation's value of this node, its
  // rounding to the storage type included.
  virtual void observe(const NodeData& node, const Array& value, const Array& error) = 0;
  // Whether a named node is to be observed. What no wanted node needs is not computed.
  virtual bool wants(const NodeData& node);
  // Whether later nodes start from given(node) and not from what was computed.
  virtual bool gives(const NodeData& node);
  // The value that later nodes start from, and its error; absent: it is exact.
  virtual std::pair<Array, Array> given(const NodeData& node);
  // The error that an input or weight starts with; absent: it is exact.
  virtual Array error_of_input(const NodeData& node, const Array& value);
  // The operands of every node that is computed and their errors (absent: exact), before they are
  // freed.
  virtual void keep(int id, const std::vector<Array>& values, const std::vector<Array>& errors);
};

// What operations round by under a schedule.
ErrorModel error_model(const golden::PrecisionSchedule& schedule, ErrorNorm norm, double reach);

// reach: how many deviations the bound spans that the caller makes of them (ErrorModel).
//
// Named nodes are rounded to the schedule's storage type, unnamed ones stay in the accumulator
// type, unless the schedule is eager.
void evaluate_with_error(const Graph& graph, const Bindings& bindings,
                         const golden::PrecisionSchedule& schedule, ErrorNorm norm,
                         ErrorObserver& observer, double reach = 1);

}  // namespace assay::reference
