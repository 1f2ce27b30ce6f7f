// What decoding keeps of the words that the Probabilistic Transformer has read: [B,R] of them, in
// one arena.
#pragma once

#include <vector>

#include "cuda_impl/engine/cache/cache_places.h"
#include "cuda_impl/engine/mean_field/mean_field_parts.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// What a word holds in round n comes from its own labels and from words before it, of which it
// reads k of rounds 1 .. n alone: as keys of its heads and as values of what it hears. So the cache
// has k of every round, of every group that speaks in it; q, heads and labels of earlier words are
// not kept. A position takes
//   N groups K C r scalars of S and a byte, groups = head groups * label groups
// (with updates in_turn round n has only the first n groups). A step over a chunk costs what a pass
// over it costs, but for the heads, which read the cache.
template <class S>
struct MeanFieldCache : CachePlaces {
  MeanFieldCache(const MeanFieldParts<S>& parts, int64_t B, const CacheExtent& extent);

  // CachePlaces::place, and the chunk's words.
  void place(std::span<const int64_t> lengths, const Chunk& chunk);
  // Of a sequence of `length` positions. false where some are padding: which of the first are words
  // is not kept.
  bool copy_prefix(int64_t from, int64_t to, int64_t count, int64_t length);
  int64_t bytes() const { return static_cast<int64_t>(arena_.bytes()); }

  // Of a round, from 1, in which the group speaks: [B,K*C,R,r].
  const View<S, 4>& k_of(int64_t round, int64_t group) const {
    return k_[static_cast<std::size_t>(round - 1)][static_cast<std::size_t>(group)];
  }
  std::span<const int64_t> before() const { return before_; }  // [B]: words ahead of this step's

 private:
  void carve(Carver& carver, const MeanFieldSchedule& schedule, int64_t B, int64_t R);

  const Stream queue_;
  Arena arena_;
  std::vector<std::vector<View<S, 4>>> k_;  // by round, then by group; null where it does not speak
  std::vector<int64_t> before_, words_;     // [B]: words ahead of this step's positions, and behind
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
