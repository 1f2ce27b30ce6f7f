// Which of K groups of heads a pair of positions belongs to, by distance and direction.
//
// `starts` = {d_1 < d_2 < ..}, d_1 >= 2, splits the distances 1, 2, .. into 1 .. d_1-1, d_1 ..
// d_2-1, and so on: n = 1 + |starts| groups for keys before the query, and with both_sides n more
// for keys behind it. A query's distance to itself is counted as 1, before.
//
//   pick_by_distance    y[b,c,t,s] = x[b, k(t,s)*C + c, t, s]           x [B,K*C,T,T], y [B,C,T,T]
//   spread_by_distance  y[b,k*C+c,t,s] = x[b,c,t,s] if k = k(t,s) else 0      its adjoint
#pragma once

#include <cstdint>
#include <vector>

#include "reference/graph/graph.h"

namespace assay::reference {

struct DistanceGroups {
  std::vector<int64_t> starts;
  bool both_sides = true;

  int64_t count() const;                   // K
  int64_t of(int64_t t, int64_t s) const;  // k(t,s)
};

Node pick_by_distance(Node scores, const DistanceGroups& groups);
Node spread_by_distance(Node probs, const DistanceGroups& groups);

}  // namespace assay::reference
