// context[b,t,h*Dh + d] = sum_s p[b,h,t,s] v[b,g,s,d],  g = floor(h / (H/Hkv)), s ascending.
//
//   p [B,H,T,T], v [B,Hkv,T,Dh], result [B,T,H*Dh] with heads side by side. p is used as it is: not
//   masked, not normalised.
#pragma once

#include "reference/graph.h"

namespace assay::reference {

Node attend(Node probs, Node v);

}  // namespace assay::reference
