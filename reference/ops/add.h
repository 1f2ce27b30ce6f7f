// y = x_0 + x_1 + ..., added from left to right. One operand gives a copy under another name.
#pragma once

#include "reference/graph/graph.h"

namespace assay::reference {

Node sum(const std::vector<Node>& terms);
Node operator+(Node a, Node b);

}  // namespace assay::reference
