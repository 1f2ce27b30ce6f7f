// act = silu(gate) * up,  silu(x) = x / (1 + exp(-x))
//
//   gate, up [B,T,F]; elementwise.
// Source: Shazeer, "GLU Variants Improve Transformer", 2020, eq. 6.
#pragma once

#include "reference/graph/graph.h"

namespace assay::reference {

Node swiglu(Node gate, Node up);

}  // namespace assay::reference
