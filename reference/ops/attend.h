// context[b,t,h*Dh + d] = sum_s p[b,h,t,s] v[b,g,s,d],  g = floor(h / (H/Hkv)), s ascending.
//
//   p [B,H,T,T], v [B,Hkv,T,Dh], result [B,T,H*Dh] with heads side by side. p is used as it is: not
//   masked, not normalised.
//
// attend_back reads p by columns, what each position gives to those that attend it:
//   context[b,s,h*Dh + d] = sum_t p[b,h,t,s] q[b,h,t,d], t ascending, q [B,H,T,Dh].
#pragma once

#include "reference/graph/graph.h"

namespace assay::reference {

Node attend(Node probs, Node v);
Node attend_back(Node probs, Node q);

}  // namespace assay::reference
