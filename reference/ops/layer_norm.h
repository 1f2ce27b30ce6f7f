// LayerNorm:  y[b,t,d] = g[d] c[d] / r + h[d],  c[d] = x[b,t,d] - mean_d(x[b,t,d]),
//             r = sqrt(mean_d(c[d]^2) + eps)
//
//   x [B,T,D], gain g [D], bias h [D]. The variance is the biased one (divided by D), in a second
//   pass over x; both sums ascend in d. Mixes the features of one position.
// Source: Ba, Kiros and Hinton, "Layer Normalization", 2016, eqs. 3 and 4.
#pragma once

#include "reference/graph/graph.h"

namespace assay::reference {

Node layer_norm(Node x, Node gain, Node bias, double eps);

}  // namespace assay::reference
