// RMSNorm:  y[..,d] = g[d] x[..,d] / r,  r = sqrt(mean_d(x[..,d]^2) + eps)
//
//   x [B,T,D], gain g [D]: mixes the features of one position; or x [B,n,T,Dh], n = H or Hkv,
//   g [Dh]: those of one head of it.
// Source: Zhang & Sennrich, "Root Mean Square Layer Normalization", NeurIPS 2019, eq. 4.
#pragma once

#include "reference/graph/graph.h"

namespace assay::reference {

Node rms_norm(Node x, Node gain, double eps);

}  // namespace assay::reference
