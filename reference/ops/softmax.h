// Softmax over keys:  p[b,h,t,s] = exp(x[s] - max) / sum_s' exp(x[s'] - max), s' ascending.
//
//   x [B,H,T,T]; -inf marks a key that is not allowed: its probability is 0 and it is not summed. A
//   row without any allowed key has probabilities 0, by selection, never NaN.
#pragma once

#include "reference/graph.h"

namespace assay::reference {

Node softmax(Node scores);

}  // namespace assay::reference
