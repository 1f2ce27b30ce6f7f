// y = exp(factor x + shift), element by element, for constants factor and shift.
//
// Powers of a constant: c^x = exp(x ln c).
#pragma once

#include "reference/graph/graph.h"

namespace assay::reference {

Node exponential(Node x, double factor = 1.0, double shift = 0.0);

}  // namespace assay::reference
