// y = sum_i f_i x_i, i ascending: terms x_0 .. x_{n-1} of one shape, each times a factor of its
// own.
//
// The factor of a term, at an element (b,h,t,s) of scores:
//   term           f[i]          f [n], or a scalar for one term; terms of any shape
//   element        f[i,t,s]      f [n,P,P], P >= T: its leading part
//   key            f[i,s]        f [n,P], or [P] for one term
//   query          f[i,t]        f [n,P], or [P] for one term
//   key_feature    f[b,s,i]      f [B,T,n], an activation
//   query_feature  f[b,t,i]      f [B,T,n], an activation
// Scores that are summed are not masked yet: -inf times a factor below 0 would be +inf.
#pragma once

#include <vector>

#include "reference/graph/graph.h"

namespace assay::reference {

enum class Factor { term, element, key, query, key_feature, query_feature };

Node weighted_sum(const std::vector<Node>& terms, Node factors, Factor which = Factor::term);

}  // namespace assay::reference
