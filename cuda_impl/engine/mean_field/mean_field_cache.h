// What decoding keeps of the words that the Probabilistic Transformer has read: [B,R] of them, or
// blocks.
#pragma once

#include <vector>

#include "cuda_impl/engine/cache/cache_arrays.h"
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
struct MeanFieldCache : CacheArrays<MeanFieldCache<S>> {
  MeanFieldCache(const MeanFieldParts<S>& parts, const CacheExtent& extent);

  // CachePlaces::place, and the chunk's words.
  void place(std::span<const int64_t> lengths, const Chunk& chunk);
  // Of a sequence of `length` positions. false where some are padding: which of the first are words
  // is not kept.
  bool copy_prefix(int64_t from, int64_t to, int64_t count, int64_t length);

  // Of a round, from 1, in which the group speaks: [B,K*C,R,r]; of as many blocks as B says.
  const View<S, 4>& k_of(int64_t round, int64_t group) const {
    return k_[static_cast<std::size_t>(round - 1)][static_cast<std::size_t>(group)];
  }
  std::span<const int64_t> before() const { return before_; }  // [B]: words ahead of this step's

 private:
  friend class CacheArrays<MeanFieldCache<S>>;
  void carve(Carver& carver, int64_t blocks, int64_t rows);
  template <class Use>
  void for_arrays(const Use& use) {
    for (std::vector<View<S, 4>>& round : k_) {
      for (View<S, 4>& array : round) {
        if (array.shape[0] > 0) use(array);
      }
    }
  }
  void moved() {}  // whoever reads k has tables of its own

  const MeanFieldSchedule& schedule_;
  std::vector<std::vector<View<S, 4>>> k_;  // by round, then by group; null where it does not speak
  std::vector<int64_t> before_, words_;     // [B]: words ahead of this step's positions, and behind
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
