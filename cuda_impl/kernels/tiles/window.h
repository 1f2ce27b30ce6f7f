// Which positions a query sees, padding aside: query t sees key s iff
//   s <= t, and t - width < s or s < sinks
// with a width of its own where there are sizes.
// Every kernel of attention decides it here, forward, replayed and backward, and leaves out tiles
// of which no pair is seen.
#pragma once

#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

struct Window {
  int width;  // 1 .. positions; all of them hides nothing. With sizes: the widest
  int sinks;
  // [rows] 1 .. width of the queries at positions from `first` on, once of_row() has been asked;
  // null: width of every one.
  const int32_t* sizes = nullptr;
  int first = 0, rows = 0;

  // That of batch row b, whose `count` queries stand at positions from `position` on; sizes are
  // [B,count].
  SIMT_DEVICE Window of_row(int b, int position, int count) const {
    Window own = *this;
    if (sizes == nullptr) return own;
    own.sizes += int64_t{b} * count;
    own.first = position;
    own.rows = count;
    return own;
  }
  // The narrowest that holds what n queries from position t on see: for tiles to leave out.
  SIMT_DEVICE Window of_tile(int t, int n) const {
    Window own = *this;
    if (sizes == nullptr) return own;
    own.width = 1;
    for (int i = 0; i < n && t + i < first + rows; ++i) {
      const int needed = sizes[t + i - first] - i;  // to see from t what query t + i sees first
      if (needed > own.width) own.width = needed;
    }
    return own;
  }

  SIMT_DEVICE int width_of(int t) const {
    return sizes == nullptr || t - first >= rows ? width : sizes[t - first];
  }
  SIMT_DEVICE bool sees(int t, int s) const { return s <= t && (t - width_of(t) < s || s < sinks); }

  // Which of n <= 32 rows at positions t0 .. see key s: those from `from` to `to` - 1, for a key is
  // seen from its own position on to some later one; of them not those whose own size hides it.
  struct RowRange {
    int from, to;
    unsigned hidden;
    SIMT_DEVICE bool contains(int row) const {
      return from <= row && row < to && (hidden >> row & 1u) == 0;
    }
    SIMT_DEVICE bool contains_all(int n) const { return from <= 0 && n <= to && hidden == 0; }
  };
  SIMT_DEVICE RowRange rows_of(int s, int t0, int n) const {
    RowRange range{s - t0, query_end(s, 1, t0 + n) - t0, 0};
    if (sizes == nullptr) return range;
    for (int i = 0; i < n; ++i) range.hidden |= static_cast<unsigned>(!sees(t0 + i, s)) << i;
    return range;
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
  if (scores.sizes != nullptr && scores.window == 0) {
    throw simt::Error(std::string(kernel) +
                      ": sizes: expected a window, the largest of them, got 0");
  }
  const int64_t width = scores.window == 0 ? positions : scores.window;
  return {.width = static_cast<int>(width < positions ? width : positions),
          .sinks = static_cast<int>(scores.sinks < positions ? scores.sinks : positions),
          .sizes = scores.sizes};
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
