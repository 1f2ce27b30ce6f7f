// Learned positions:  y[b,t,:] = x[b,t,:] + w[t,:]
//
//   x [B,T,D], w [P,D] with P >= T. Position t is the index in the row, 0 .. T-1, whatever is
//   padded: padding on the left does not shift it.
#pragma once

#include "reference/graph/graph.h"

namespace assay::reference {

Node add_positions(Node x, Node weight);

}  // namespace assay::reference
