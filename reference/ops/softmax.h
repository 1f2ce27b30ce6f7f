// Softmax over the last axis:  p[s] = exp(x[s] - max) / sum_s' exp(x[s'] - max), s' ascending.
//
//   x [B,H,T,T] scores of keys, [B,T,D] scores of features, or a parameter [D]. -inf marks what is
//   not allowed: its probability is 0 and it is not summed. A row without anything allowed has
//   probabilities 0, by selection, never NaN.
#pragma once

#include "reference/graph/graph.h"

namespace assay::reference {

Node softmax(Node scores);

}  // namespace assay::reference
