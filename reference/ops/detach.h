// y = x, a constant for differentiation: nothing flows back through it, and nothing forward.
#pragma once

#include "reference/graph/graph.h"

namespace assay::reference {

Node detach(Node x);

}  // namespace assay::reference
