// Y = X W^T:  y[b,t,n] = sum_k x[b,t,k] w[n,k], k ascending.
//
//   x [B,T,K], w [N,K] as in a state dict, y [B,T,N]. Mixes features only.
#pragma once

#include "reference/graph.h"

namespace assay::reference {

Node linear(Node x, Node weight);

}  // namespace assay::reference
