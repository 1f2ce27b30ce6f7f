// Raw attention scores:  s[b,h,t,s'] = sum_d q[b,h,t,d] k[b,g,s',d],  g = floor(h / (H/Hkv)), d
// ascending.
//
//   q [B,H,T,Dh], k [B,Hkv,T,Dh], result [B,H,T,T]: no scale, no mask.
#pragma once

#include "reference/graph/graph.h"

namespace assay::reference {

Node attention_scores(Node q, Node k);

}  // namespace assay::reference
