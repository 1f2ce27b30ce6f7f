// The newest `capacity` positions in three tiers by recency, plainly: a flat ring that counts.
//
//   block of position p   floor(p / b)
//   age of a block        floor((length-1) / b) - block: 0 is the one that is being filled
//   hot                   age < R/4b                 the newest quarter, on the device
//   warm                  R/4b <= age < R/2b         the next, on the device
//   cold                  R/2b <= age                the oldest half, on the host
//
// Tiers are counted in blocks of b positions, because blocks are what moves between them; with
// b = 1 they are exactly R/4, R/4 and R/2 positions. Sinks are hot.
//
//   hits, misses   blocks that a read of one tensor touches: hot or warm, and cold
//   evictions      positions that have left, by one the oldest with each append to a full cache
//
// Source: the fast form and its moves are those of cuda_impl/engine/cache/tiered_cache.h.
#pragma once

#include "reference/streaming/key_cache.h"

namespace assay::reference {

enum class Tier { hot, warm, cold };

struct TierCounters {
  int64_t hits = 0, misses = 0, evictions = 0;
  int64_t hot_bytes = 0, warm_bytes = 0, cold_bytes = 0;  // of the positions held
};

class TieredCache : public KeyCache {
 public:
  // Throws InputError unless a quarter of the capacity is a whole number of blocks, 1 at least.
  TieredCache(std::span<const KeptTensor> kept, const CacheSize& size, int64_t block);

  void append(int64_t count, std::span<const KeptRows> rows,
              std::span<const uint8_t> real) override;
  void read(std::size_t tensor, int64_t first, int64_t last, double* to,
            int64_t head_stride) override;
  bool is_real(int64_t position) const override { return ring_->is_real(position); }
  int64_t length() const override { return ring_->length(); }
  int64_t oldest() const override { return ring_->oldest(); }
  int64_t held() const override { return ring_->held(); }
  int64_t evictions() const override { return ring_->evictions(); }
  int64_t bytes() const override { return ring_->bytes(); }
  void reset() override;
  std::unique_ptr<CacheMark> mark(int64_t count) const override;
  void go_back(const CacheMark& to) noexcept override;

  Tier tier_of(int64_t position) const;
  TierCounters counters() const;

 private:
  CacheSize size_;
  int64_t block_, position_bytes_;
  int64_t hits_ = 0, misses_ = 0;
  std::unique_ptr<KeyCache> ring_;
};

// For StreamOptions::cache. Capacities of windows are rounded up to what has tiers; what is
// windowed is kept as long as the rest.
KeyCacheFactory tiered_caches(int64_t block);

}  // namespace assay::reference
