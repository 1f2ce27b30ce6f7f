#include "cuda_impl/engine/mean_field/mean_field_cache.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
void MeanFieldCache<S>::carve(Carver& carver, const MeanFieldSchedule& schedule, int64_t B,
                              int64_t R) {
  CachePlaces::carve(carver, B, R);
  k_.assign(static_cast<std::size_t>(schedule.pt.iterations), {});
  for (std::size_t n = 0; n < k_.size(); ++n) {
    for (int64_t group = 0; group < schedule.groups(); ++group) {
      const bool speaks =
          schedule.takes_part(static_cast<int64_t>(n) + 1, schedule.pt.head_groups > 1 ? group : 0);
      k_[n].push_back(speaks ? carver.view<S>({B, schedule.heads(), R, schedule.pt.rank})
                             : View<S, 4>{});
    }
  }
}

template <class S>
MeanFieldCache<S>::MeanFieldCache(const MeanFieldParts<S>& parts, int64_t B,
                                  const CacheExtent& extent)
    : queue_(parts.queue), before_(static_cast<std::size_t>(B)), words_(before_) {
  positions = extent.positions;
  arena_.plan([&](Carver& carver) { carve(carver, parts.schedule, B, extent.rows); });
  clear(queue_);
}

template <class S>
void MeanFieldCache<S>::place(std::span<const int64_t> lengths, const Chunk& chunk) {
  CachePlaces::place(lengths, chunk, queue_);
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
  if (words_[static_cast<std::size_t>(from)] != length) return false;
  copy_mask(from, to, count, queue_);
  for (const std::vector<View<S, 4>>& round : k_) {
    for (const View<S, 4>& array : round) {
      if (array.data != nullptr) copy_rows(array, from, to, count, queue_);
    }
  }
  words_[static_cast<std::size_t>(to)] = count;
  return true;
}

#define ASSAY_INSTANTIATE(S) template struct MeanFieldCache<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
