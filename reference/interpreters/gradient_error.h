// Gradients together with the deviation of what an implementation with a given precision schedule
// gives for them: the backward rules over numbers that carry the variance of their error
// (numbers/uncertain.h), from forward values with theirs (error.h).
//
// Every gradient, of unnamed nodes too, is rounded to the storage type once for each reader of its
// node: eager implementations store what each of them adds, ours what a gemm reads. What rounding
// to storage loses by underflow is counted with it, so that no loss scale is assumed.
#pragma once

#include <utility>

#include "reference/interpreters/error.h"

namespace assay::reference {

// The forward part is asked and told as in error.h.
class GradientErrorObserver : public ErrorObserver {
 public:
  // Called once per named node and per weight on the way to the loss, in reverse order of
  // computation. deviation: of an implementation's gradient, its rounding to storage included.
  virtual void observe_gradient(const NodeData& node, const Array& gradient,
                                const Array& deviation) = 0;
  // Whether earlier nodes go on from given_gradient(node) and not from what was computed.
  virtual bool gives_gradient(const NodeData& node);
  // The gradient that they go on from, and its deviation; absent: it is exact.
  virtual std::pair<Array, Array> given_gradient(const NodeData& node);
};

// loss must be a scalar node. reach: as in error.h. All that rules read is held at once, with its
// deviation.
void evaluate_gradient_with_error(const Graph& graph, const Bindings& bindings, int loss,
                                  const golden::PrecisionSchedule& schedule,
                                  GradientErrorObserver& observer, double reach);

}  // namespace assay::reference
