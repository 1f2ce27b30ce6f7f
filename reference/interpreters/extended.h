// Evaluates a graph in double-double arithmetic (numbers/double_double.h), at least 104 significant
// bits: what the double reference's own error is measured against.
#pragma once

#include "reference/interpreters/value.h"

namespace assay::reference {

class ExtendedObserver {
 public:
  virtual ~ExtendedObserver() = default;
  // The tensor as an unevaluated sum high + low.
  virtual void observe(const NodeData& node, const Array& high, const Array& low) = 0;
};

// Inputs and weights are the given doubles, exactly. Cost: about 50 evaluations and twice the
// memory of one.
void evaluate_extended(const Graph& graph, const Bindings& bindings, ExtendedObserver& observer);

}  // namespace assay::reference
