// The scores [B,H,T,S] that take part in a softmax where every query has a window of its own: the
// others become -inf, by selection.
#pragma once

#include "reference/ops/dynamic_window.h"

namespace assay::reference {

// causal_mask of a window of sizes[b,t] positions: key s for query t iff s <= t, s is not padding
// and t - sizes[b,t] < s or s < sinks. sizes [B,T], all in least .. most.
Node causal_mask(Node scores, Node attention_mask, Node sizes, const WindowRange& range);
// Of such a mask; nullptr for any other operation.
const WindowRange* window_range_of(const Op& op);

}  // namespace assay::reference
