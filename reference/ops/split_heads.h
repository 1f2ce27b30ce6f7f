// y[b,h,t,d] = x[b,t,h*Dh + d]: projection output [B,T,n*Dh] to heads [B,n,T,Dh].
//
//   axis is 'H' for query heads, 'G' for key/value heads.
#pragma once

#include "reference/graph/graph.h"

namespace assay::reference {

Node split_heads(Node x, int64_t heads, char axis);

}  // namespace assay::reference
