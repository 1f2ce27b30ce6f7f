// Tokens that two sets share: windows of W tokens, hashed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace assay::datasets {

// The rows of `tokens` [N,T] that share a window of `window` tokens with `others` [M,S], or with an
// earlier row of `tokens` itself where `others` is empty. None where a row is shorter than that.
std::vector<int64_t> overlapping_rows(std::span<const int32_t> tokens, int64_t positions,
                                      std::span<const int32_t> others, int64_t other_positions,
                                      int64_t window);

// The least window that, of all pairs of windows of two such sets, one pair in a million pairs of
// sets shares by chance: windows whose tokens have `nats` each on average.
int64_t telling_window(double nats, double tokens, double others);

}  // namespace assay::datasets
