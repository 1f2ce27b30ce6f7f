// The engine's tiered cache as what is judged, rows of doubles.
#pragma once

#include <memory>

#include "cuda_impl/engine/cache/tiered_cache.h"
#include "verify/systems/tiered_check.h"

namespace assay::systems_test {

class EngineTiers : public verify::TieredSubject {
 public:
  explicit EngineTiers(const verify::TieredShape& shape)
      : cache_({shape.capacity, shape.block, 8 * shape.width}), width_(shape.width) {}

  void append(std::span<const double> rows) override {
    const simt::Buffer<double> given(rows);
    cache_.append(given.get(), static_cast<int64_t>(rows.size()) / width_);
    simt::synchronize();
  }
  void read(int64_t first, int64_t last, std::span<double> out) override {
    const simt::Buffer<double> read(out.size());
    cache_.read(first, last, read.get());
    simt::copy_out(out.data(), read.get(), out.size_bytes());
  }
  verify::TieredCounts counts() const override {
    const cuda::TierUse use = cache_.use();
    return {use.hits, use.misses, use.evictions, use.hot_bytes, use.warm_bytes, use.cold_bytes};
  }
  void reset() override { cache_.reset(); }

 private:
  cuda::TieredCache cache_;
  int64_t width_;
};

inline std::unique_ptr<verify::TieredSubject> engine_tiers(const verify::TieredShape& shape) {
  return std::make_unique<EngineTiers>(shape);
}

}  // namespace assay::systems_test
