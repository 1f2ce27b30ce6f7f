// Which scores [B,H,T,S] take part in a softmax: the others become -inf, by selection.
//
//   causal_mask   key s for query t iff s <= t, s is not padding and, with a window, t - window < s
//                 or s < sinks
//   head_mask     word s as the head of word t iff s != t (heads: any word) or s < t (heads: an
//                 earlier word), |s - t| <= reach, and neither is padding
#pragma once

#include <limits>

#include "reference/graph/graph.h"

namespace assay::reference {

// The positions that a query sees: the last `window` up to its own, and the first `sinks` of all.
// window 0: all up to its own.
struct KeyWindow {
  int64_t window = 0, sinks = 0;
};

enum class Heads { any_word, earlier_word };

inline constexpr int64_t kEveryWord = std::numeric_limits<int64_t>::max();  // a reach

// attention_mask [B,T]: 1 for a position that may be attended, 0 for padding. Not differentiable in
// it.
Node causal_mask(Node scores, Node attention_mask, const KeyWindow& keys = {});
// Of a causal_mask; nullptr for any other operation.
const KeyWindow* key_window_of(const Op& op);
Node head_mask(Node scores, Node attention_mask, Heads heads, int64_t reach = kEveryWord);

// The head_mask of scores that are all 0, [B,channels,T,T]: their softmax is uniform over the words
// that can be a head.
Node even_head_scores(Node attention_mask, int64_t channels, Heads heads,
                      int64_t reach = kEveryWord);

}  // namespace assay::reference
