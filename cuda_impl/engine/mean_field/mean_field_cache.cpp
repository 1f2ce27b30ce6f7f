#include "cuda_impl/engine/mean_field/mean_field_cache.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
void MeanFieldCache<S>::carve(Carver& carver, int64_t blocks, int64_t rows) {
  k_.assign(static_cast<std::size_t>(schedule_.pt.iterations), {});
  for (std::size_t n = 0; n < k_.size(); ++n) {
    for (int64_t group = 0; group < schedule_.groups(); ++group) {
      const bool speaks = schedule_.takes_part(static_cast<int64_t>(n) + 1,
                                               schedule_.pt.head_groups > 1 ? group : 0);
      k_[n].push_back(speaks ? carver.view<S>({blocks, schedule_.heads(), rows, schedule_.pt.rank})
                             : View<S, 4>{});
    }
  }
}

template <class S>
MeanFieldCache<S>::MeanFieldCache(const MeanFieldParts<S>& parts, const CacheExtent& extent)
    : CacheArrays<MeanFieldCache<S>>(extent, parts.queue),
      schedule_(parts.schedule),
      before_(static_cast<std::size_t>(extent.sequences)),
      words_(before_) {
  this->allocate();
}

template <class S>
void MeanFieldCache<S>::place(std::span<const int64_t> lengths, const Chunk& chunk) {
  CachePlaces::place(lengths, chunk);
  const auto C = static_cast<std::size_t>(chunk.positions);
  for (std::size_t b = 0; b < lengths.size(); ++b) {
    before_[b] = lengths[b] == 0 ? 0 : words_[b];  // a sequence that starts again has none
    const auto count = static_cast<std::size_t>(chunk.counts[b]);
    words_[b] = before_[b];
    for (const uint8_t word : chunk.attention_mask.subspan(b * C, count)) words_[b] += word;
  }
}

template <class S>
bool MeanFieldCache<S>::copy_prefix(int64_t from, int64_t to, int64_t count, int64_t length) {
  const bool all_words = words_[static_cast<std::size_t>(from)] == length;
  if (!all_words || !this->share_rows(from, to, count, length)) return false;
  words_[static_cast<std::size_t>(to)] = count;
  return true;
}

#define ASSAY_INSTANTIATE(S) template struct MeanFieldCache<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
