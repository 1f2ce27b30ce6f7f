// y = numerator / x, element by element, for a constant numerator. x = 0 gives an infinity.
#pragma once

#include "reference/graph/graph.h"

namespace assay::reference {

Node reciprocal(Node x, double numerator = 1.0);

}  // namespace assay::reference
