// y[b,h,t,s] = x[b,h,t,s] + c[t]: a number of its own for each query.
//
//   x [B,H,T,T] scores that are not masked yet, c [P], P >= T: its first T elements.
#pragma once

#include "reference/graph/graph.h"

namespace assay::reference {

Node query_bias(Node scores, Node c);

}  // namespace assay::reference
