// Whether a cache in tiers is the flat cache: random appends and reads beside the plain definition
// (reference/streaming/tiered_cache.h), values bit for bit, counters, and what is refused.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "verify/verdict.h"

namespace assay::verify {

struct TieredShape {
  int64_t capacity = 0, block = 0, width = 0;  // positions; of a block; doubles of a position
};

// What a cache says of itself; -1 where it does not say it.
struct TieredCounts {
  int64_t hits = -1, misses = -1, evictions = -1;
  int64_t hot_bytes = -1, warm_bytes = -1, cold_bytes = -1;  // of the doubles of positions held
};

class TieredSubject {
 public:
  virtual ~TieredSubject() = default;
  virtual void append(std::span<const double> rows) = 0;  // [n,width]
  // Positions first .. last-1; throws InputError for one that is not held.
  virtual void read(int64_t first, int64_t last, std::span<double> out) = 0;
  virtual TieredCounts counts() const = 0;
  virtual void reset() = 0;
};

using MakeTiered = std::function<std::unique_ptr<TieredSubject>(const TieredShape&)>;

// `cases` shapes, each with 60 operations: appends of one position up to several capacities, reads
// of ranges that cross tiers and the ring's end, of everything, of nothing, of what has been
// evicted or has not come, and resets.
Check check_tiered(const MakeTiered& make, int64_t cases, uint64_t seed);

}  // namespace assay::verify
