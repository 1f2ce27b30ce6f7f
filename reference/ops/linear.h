// Y = X W^T:  y[b,t,n] = sum_k x[b,t,k] w[n,k], k ascending. x [B,T,K], w [N,K], y [B,T,N].
// Y = X W:    the same weight backwards, x [B,T,N], y [B,T,K], sums over n ascending.
//
// w is laid out as in a state dict. Mixes features only.
#pragma once

#include "reference/graph.h"

namespace assay::reference {

Node linear(Node x, Node weight);
Node linear_back(Node x, Node weight);

}  // namespace assay::reference
