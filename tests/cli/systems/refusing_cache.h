// Rings of which one refuses an append, as for want of memory.
#pragma once

#include <memory>
#include <new>
#include <utility>

#include "reference/streaming/ring_cache.h"

namespace assay::systems_test {

class RefusingCache final : public reference::KeyCache {
 public:
  RefusingCache(std::unique_ptr<KeyCache> ring, int64_t& left)
      : ring_(std::move(ring)), left_(left) {}
  void append(int64_t count, std::span<const reference::KeptRows> rows,
              std::span<const uint8_t> real) override {
    if (left_ > 0 && --left_ == 0) throw std::bad_alloc();
    ring_->append(count, rows, real);
  }
  void read(std::size_t tensor, int64_t first, int64_t last, double* to,
            int64_t head_stride) override {
    ring_->read(tensor, first, last, to, head_stride);
  }
  bool is_real(int64_t position) const override { return ring_->is_real(position); }
  int64_t length() const override { return ring_->length(); }
  int64_t oldest() const override { return ring_->oldest(); }
  int64_t held() const override { return ring_->held(); }
  int64_t evictions() const override { return ring_->evictions(); }
  int64_t bytes() const override { return ring_->bytes(); }
  void reset() override { ring_->reset(); }
  std::unique_ptr<reference::CacheMark> mark(int64_t count) const override {
    return ring_->mark(count);
  }
  void go_back(const reference::CacheMark& to) noexcept override { ring_->go_back(to); }

 private:
  std::unique_ptr<KeyCache> ring_;
  int64_t& left_;
};

// The append that `left` counts down to is refused, of all caches together; none where it is 0.
inline reference::KeyCacheFactory refusing_caches(int64_t& left) {
  return [&left](std::span<const reference::KeptTensor> kept, const reference::CacheSize& size) {
    return std::make_unique<RefusingCache>(reference::make_ring_cache(kept, size), left);
  };
}

}  // namespace assay::systems_test
