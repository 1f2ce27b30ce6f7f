// y = c x for a constant c. Excluded scores stay excluded, so c > 0 is required.
#pragma once

#include "reference/graph/graph.h"

namespace assay::reference {

Node scale(Node x, double factor);

}  // namespace assay::reference
