// Reverse-mode differentiation of a graph: gradients of one scalar node.
#pragma once

#include "reference/interpreters/segments.h"
#include "reference/interpreters/value.h"

namespace assay::reference {

class GradientObserver {
 public:
  virtual ~GradientObserver() = default;
  // Called once per named node and per weight on the way to `loss`, in reverse order of
  // computation, with d loss / d node.
  virtual void observe_gradient(const NodeData& node, const Array& gradient) = 0;
  // What the rules of earlier nodes read for it: itself, or another array of its shape.
  virtual Array pass_on(const NodeData& node, Array gradient);
};

// Evaluates forward (observer sees named nodes), keeps the tensors that gradient rules read, then
// runs the rules from the loss backwards. A gradient is the sum over the readers of its node, the
// last reader first. Memory: the live set of the values, what is kept, and the gradients that are
// begun and not yet passed on.
// loss must be a scalar node.
//
// With segments what is kept is less, and a segment's values are computed again when the backward
// pass enters it, from what is stored; the observer sees them once, in the forward pass, and what
// it replaces is kept. Every gradient has the same bits. `bindings` is asked again for inputs.
//
// Returns the bytes that are live between the forward and the backward pass and were not before.
int64_t evaluate_with_gradient(const Graph& graph, const Bindings& bindings, int loss,
                               Observer& observer, GradientObserver& gradients,
                               const Segments& segments = {});

}  // namespace assay::reference
