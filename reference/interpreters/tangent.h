// Forward-mode differentiation of a graph: how every named tensor moves, to first order, when
// inputs, weights or named tensors on the way move along a given direction.
#pragma once

#include <functional>

#include "reference/interpreters/value.h"

namespace assay::reference {

class TangentObserver {
 public:
  virtual ~TangentObserver() = default;
  // value and its derivative along the direction, of one shape.
  virtual void observe(const NodeData& node, const Array& value, const Array& tangent) = 0;
  // The direction of an input, weight or named node: for inputs the tangent itself, for computed
  // nodes added to the tangent they inherit. Absent: zero.
  virtual Array direction(const NodeData& node) = 0;
};

// Cost: about three evaluations and twice the memory of one.
void evaluate_with_tangent(const Graph& graph, const Bindings& bindings, TangentObserver& observer);

}  // namespace assay::reference
