// Which positions a query sees, padding aside: query t sees key s iff
//   s <= t, and t - width < s or s < sinks
// Every kernel of attention decides it here, forward, replayed and backward, and leaves out tiles
// of which no pair is seen.
#pragma once

#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

struct Window {
  int width;  // 1 .. positions; all of them hides nothing
  int sinks;

  SIMT_DEVICE bool sees(int t, int s) const { return s <= t && (t - width < s || s < sinks); }

  // Which of n rows at positions t0 .. see key s: those from `from` to `to` - 1, for a key is seen
  // from its own position on to some later one.
  struct RowRange {
    int from, to;
    SIMT_DEVICE bool contains(int row) const { return from <= row && row < to; }
  };
  SIMT_DEVICE RowRange rows_of(int s, int t0, int n) const {
    return {s - t0, query_end(s, 1, t0 + n) - t0};
  }

  // The first tile of n keys at or behind `key0` that a query at t or later may see; tiles start at
  // multiples of n.
  SIMT_DEVICE int next_tile(int key0, int t, int n) const {
    const int begin = t - width + 1;
    return key0 < sinks || begin <= key0 ? key0 : begin / n * n;
  }

  // One past the last of T queries that may see one of the n keys from `key0` on.
  SIMT_DEVICE int query_end(int key0, int n, int T) const {
    const int last = key0 + n - 1;
    return key0 < sinks || T - width <= last ? T : last + width;
  }
};

// Of operands whose keys stand at `positions` positions.
template <class S>
Window window_of(const char* kernel, const ScoreOperands<S>& scores, int64_t positions) {
  if (scores.window < 0 || scores.sinks < 0 || (scores.sinks > 0 && scores.window == 0)) {
    throw simt::Error(std::string(kernel) +
                      ": window, sinks: expected numbers >= 0, and sinks with a window only, got " +
                      std::to_string(scores.window) + " and " + std::to_string(scores.sinks));
  }
  const int64_t width = scores.window == 0 ? positions : scores.window;
  return {.width = static_cast<int>(width < positions ? width : positions),
          .sinks = static_cast<int>(scores.sinks < positions ? scores.sinks : positions)};
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
