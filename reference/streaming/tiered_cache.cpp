#include "reference/streaming/tiered_cache.h"

#include <fmt/format.h>

#include <algorithm>

#include "golden/contract/error.h"
#include "reference/streaming/ring_cache.h"

namespace assay::reference {
namespace {

CacheSize checked_tiers(const CacheSize& size, int64_t block) {
  if (block >= 1 && size.capacity >= 4 && size.capacity % 4 == 0 &&
      size.capacity / 4 % block == 0) {
    return size;
  }
  throw InputError(fmt::format(
      "tiered cache: capacity: expected 4 blocks or a multiple, got {} positions in blocks of {}",
      size.capacity, block));
}

}  // namespace

TieredCache::TieredCache(std::span<const KeptTensor> kept, const CacheSize& size, int64_t block)
    : size_(checked_tiers(size, block)),
      block_(block),
      position_bytes_(cache_bytes_per_position(kept)),
      ring_(make_ring_cache(kept, size)) {}

void TieredCache::append(int64_t count, std::span<const KeptRows> rows,
                         std::span<const uint8_t> real) {
  ring_->append(count, rows, real);
}

Tier TieredCache::tier_of(int64_t position) const {
  if (position < size_.sinks) return Tier::hot;
  const int64_t age = (length() - 1) / block_ - position / block_;
  const int64_t quarter = size_.capacity / 4 / block_;
  return age < quarter ? Tier::hot : age < 2 * quarter ? Tier::warm : Tier::cold;
}

void TieredCache::read(std::size_t tensor, int64_t first, int64_t last, double* to,
                       int64_t head_stride) {
  ring_->read(tensor, first, last, to, head_stride);
  for (int64_t p = first; p < last; p = (p / block_ + 1) * block_) {
    ++(tier_of(p) == Tier::cold ? misses_ : hits_);
  }
}

void TieredCache::reset() {
  ring_->reset();
  hits_ = misses_ = 0;
}

namespace {

struct TieredMark final : CacheMark {
  std::unique_ptr<CacheMark> ring;
  int64_t hits = 0, misses = 0;
};

}  // namespace

std::unique_ptr<CacheMark> TieredCache::mark(int64_t count) const {
  auto mark = std::make_unique<TieredMark>();
  mark->ring = ring_->mark(count);
  mark->hits = hits_;
  mark->misses = misses_;
  return mark;
}

void TieredCache::go_back(const CacheMark& to) noexcept {
  const auto& mark = static_cast<const TieredMark&>(to);
  ring_->go_back(*mark.ring);
  hits_ = mark.hits;
  misses_ = mark.misses;
}

TierCounters TieredCache::counters() const {
  TierCounters counters{.hits = hits_, .misses = misses_, .evictions = evictions()};
  const auto count = [&](int64_t first, int64_t last) {
    for (int64_t p = first; p < last; ++p) {
      int64_t& bytes = tier_of(p) == Tier::hot    ? counters.hot_bytes
                       : tier_of(p) == Tier::warm ? counters.warm_bytes
                                                  : counters.cold_bytes;
      bytes += position_bytes_;
    }
  };
  const int64_t oldest = ring_->oldest();
  count(0, std::min(size_.sinks, oldest));
  count(oldest, length());
  return counters;
}

KeyCacheFactory tiered_caches(int64_t block) {
  return [block](std::span<const KeptTensor> kept, const CacheSize& size) {
    const int64_t unit = 4 * block;
    const CacheSize whole{(size.capacity + unit - 1) / unit * unit, size.sinks};
    return std::make_unique<TieredCache>(kept, whole, block);
  };
}

}  // namespace assay::reference
