// A window of its own for every query of a causal model, from the scores of positions up to its
// own.
//
//   (1)  z_t = mean of |S[b,h,t,s]| over heads h and the keys s <= t that are real and either
//        t - most < s or s < sinks; 0 where there are none
//   (2)  min_t, max_t: the least and the largest z of the real positions before t
//   (3)  r_t = (z_t - min) / (max - min),  min = min(min_t, z_t),  max = max(max_t, z_t);
//        1/2 while min = max
//   (4)  W_t = least + floor( r_t (most - least) )
//
// (1) stops at the widest window, so that a stream which holds that many positions forms the same
// z_t as a pass over the whole sequence. A query that is padding has a window, within the extremes
// of those before it, and enters none of them. W_t is constant between the places where it jumps:
// its derivative is 0.
#pragma once

#include "reference/graph/graph.h"

namespace assay::reference {

// 1 <= least <= most.
struct WindowRange {
  int64_t least = 1, most = 1, sinks = 0;
};

// [B,T,3]: z_t, min_t, max_t of (1) and (2); min_t > max_t where no real position is before t.
// scores [B,H,T,S], before scale and mask; attention_mask [B,T], not differentiable in it.
Node window_strengths(Node scores, Node attention_mask, const WindowRange& range);

// W_t of (3) and (4) [B,T], from strengths [B,T,3].
Node window_sizes(Node strengths, const WindowRange& range);

}  // namespace assay::reference
