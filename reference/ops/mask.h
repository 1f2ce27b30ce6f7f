// y[b,h,t,s] = x[b,h,t,s] if s <= t and key s is not padding, else -inf: what enters the softmax.
//
//   x [B,H,T,T] scaled and summed scores, attention_mask [B,T] with 1 for a real token, 0 for
//   padding.
// The mask selects; it is never a number that could be summed or scaled.
#pragma once

#include "reference/graph.h"

namespace assay::reference {

Node causal_mask(Node scores, Node attention_mask);

}  // namespace assay::reference
