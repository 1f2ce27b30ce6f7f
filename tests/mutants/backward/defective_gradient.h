// An operation of the reference with another gradient rule: its values are right, what it sends
// back is not. The operations themselves carry no hook for it.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "reference/graph/op.h"

namespace assay::mutants {

using reference::Array;
using reference::Op;

// What the rule has: as Op::gradient.
struct BackwardCall {
  const Op& op;
  std::span<const Array> in;
  const Array& out;
  const Array& grad_out;
  std::span<Array> grad_in;

  // What the right rule adds to each operand's gradient; absent where that is.
  std::vector<Array> parts() const;
};
using DefectiveRule = std::function<void(const BackwardCall& call)>;

std::shared_ptr<const Op> with_gradient(std::shared_ptr<const Op> op, DefectiveRule rule);

void add_to(Array& sum, const Array& x, double factor = 1);

}  // namespace assay::mutants
