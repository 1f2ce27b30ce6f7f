// y = a b, element by element; a and b of one shape.
#pragma once

#include "reference/graph/graph.h"

namespace assay::reference {

Node times(Node a, Node b);

}  // namespace assay::reference
