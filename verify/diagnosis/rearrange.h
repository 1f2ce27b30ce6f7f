// Moves elements about: transposes, shifts, head maps. Suspected defects are written with it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "reference/graph/graph.h"

namespace assay::verify {

// Where each element of the result comes from; kZero: it is 0; kUnknown: it may be anything.
inline constexpr int64_t kZero = -1;
inline constexpr int64_t kUnknown = -2;

// Adds a node of the given shape whose element i is element from[i] of x.
reference::Node rearrange(reference::Node x, reference::Operand result, std::vector<int64_t> from);

// Index maps for a row-major tensor.
std::vector<int64_t> transpose_last_two(const golden::Shape& shape);  // the last two are equal
std::vector<int64_t> exchange_middle(const golden::Shape& shape);     // axes 1 and 2 of 4, equal
// Element at position t is that at t - by; positions that nothing moves to are `fill`.
std::vector<int64_t> shift_axis(const golden::Shape& shape, std::size_t axis, int64_t by,
                                int64_t fill);
// [B,G,T,D] to [B,H,T,D]: head h reads h mod G (tiled; right is floor(h / (H/G))).
std::vector<int64_t> tile_heads(const golden::Shape& shape, int64_t heads);
// Last axis: pairs (0,1), (2,3), .. become halves (0,2,4,.. 1,3,5,..), or the reverse.
std::vector<int64_t> pairs_to_halves(const golden::Shape& shape);
std::vector<int64_t> halves_to_pairs(const golden::Shape& shape);

}  // namespace assay::verify
