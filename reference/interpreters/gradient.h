// Reverse-mode differentiation of a graph: gradients of one scalar node.
#pragma once

#include "reference/interpreters/value.h"

namespace assay::reference {

class GradientObserver {
 public:
  virtual ~GradientObserver() = default;
  // Called once per named node and per weight on the way to `loss`, in reverse order of
  // computation, with d loss / d node.
  virtual void observe_gradient(const NodeData& node, const Array& gradient) = 0;
};

// Evaluates forward (observer sees named nodes), keeps what the reverse pass needs, then runs it.
// loss must be a scalar node.
void evaluate_with_gradient(const Graph& graph, const Bindings& bindings, int loss,
                            Observer& observer, GradientObserver& gradients);

}  // namespace assay::reference
