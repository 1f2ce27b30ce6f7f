// RMSNorm:  y[b,t,d] = g[d] x[b,t,d] / r,  r = sqrt(mean_d(x[b,t,d]^2) + eps)
//
//   x [B,T,D], gain g [D]. Mixes the features of one position.
// Source: Zhang & Sennrich, "Root Mean Square Layer Normalization", NeurIPS 2019, eq. 4.
#pragma once

#include "reference/graph/graph.h"

namespace assay::reference {

Node rms_norm(Node x, Node gain, double eps);

}  // namespace assay::reference
