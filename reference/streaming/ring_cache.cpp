#include "reference/streaming/ring_cache.h"

#include <fmt/format.h>

#include <algorithm>

#include "golden/contract/error.h"
#include "reference/numbers/array.h"

namespace assay::reference {
namespace {

class RingCache final : public KeyCache {
 public:
  RingCache(std::span<const KeptTensor> kept, const CacheSize& size)
      : kept_(kept.begin(), kept.end()), size_(size) {
    ASSAY_CHECK(size.capacity >= 1 && size.sinks >= 0,
                fmt::format("{} {}", size.capacity, size.sinks));
    for (const KeptTensor& tensor : kept_) {
      rows_.push_back(Array::uninitialized({tensor.heads, slots(), tensor.width}));
    }
    real_.resize(static_cast<std::size_t>(slots()));
  }

  void append(int64_t count, std::span<const KeptRows> rows,
              std::span<const uint8_t> real) override {
    ASSAY_CHECK(rows.size() == kept_.size(), fmt::format("{} {}", rows.size(), kept_.size()));
    ASSAY_CHECK(static_cast<int64_t>(real.size()) == count, std::to_string(count));
    for (int64_t i = 0; i < count; ++i) {
      const int64_t position = length_ + i;
      const bool passes = position >= size_.sinks && i + size_.capacity < count;
      if (passes) continue;  // evicted by the same append
      const int64_t slot = slot_of(position);
      real_[static_cast<std::size_t>(slot)] = real[static_cast<std::size_t>(i)];
      for (std::size_t tensor = 0; tensor < kept_.size(); ++tensor) put(tensor, slot, rows, i);
    }
    length_ += count;
  }

  void read(std::size_t tensor, int64_t first, int64_t last, double* to,
            int64_t head_stride) override {
    check_range(tensor, first, last);
    const int64_t width = kept_[tensor].width;
    for (int64_t position = first; position < last;) {  // runs of slots that follow one another
      const int64_t slot = slot_of(position);
      const int64_t end = position < size_.sinks ? size_.sinks : slots();
      const int64_t run = std::min(last - position, end - slot);
      for (int64_t h = 0; h < kept_[tensor].heads; ++h) {
        const double* from = row(tensor, h, slot);
        std::copy(from, from + run * width, to + h * head_stride + (position - first) * width);
      }
      position += run;
    }
  }

  bool is_real(int64_t position) const override {
    check_range(0, position, position + 1);
    return real_[static_cast<std::size_t>(slot_of(position))] != 0;
  }

  int64_t length() const override { return length_; }
  int64_t oldest() const override { return std::max(sinks_held(), length_ - size_.capacity); }
  int64_t held() const override { return sinks_held() + length_ - oldest(); }
  int64_t evictions() const override { return length_ - held(); }
  int64_t bytes() const override { return slots() * cache_bytes_per_position(kept_); }
  void reset() override { length_ = 0; }

 private:
  int64_t slots() const { return size_.sinks + size_.capacity; }
  int64_t sinks_held() const { return std::min(length_, size_.sinks); }
  int64_t slot_of(int64_t position) const {
    if (position < size_.sinks) return position;
    return size_.sinks + (position - size_.sinks) % size_.capacity;
  }

  const double* row(std::size_t tensor, int64_t head, int64_t slot) const {
    return rows_[tensor].data() + (head * slots() + slot) * kept_[tensor].width;
  }
  void put(std::size_t tensor, int64_t slot, std::span<const KeptRows> rows, int64_t i) {
    const int64_t width = kept_[tensor].width;
    for (int64_t h = 0; h < kept_[tensor].heads; ++h) {
      const double* from = rows[tensor].data + h * rows[tensor].head_stride + i * width;
      std::copy(from, from + width, rows_[tensor].data() + (h * slots() + slot) * width);
    }
  }

  void check_range(std::size_t tensor, int64_t first, int64_t last) const {
    const bool sinks = first >= 0 && last <= sinks_held();
    const bool newest = first >= oldest() && last <= length_;
    // Nothing has been evicted between sinks and the newest: one range.
    const bool all = oldest() == sinks_held() && first >= 0 && last <= length_;
    if (first <= last && (sinks || newest || all)) return;
    throw InputError(fmt::format(
        "cache: {}: positions {} .. {} are not held: expected within {} "
        ".. {}{}",
        kept_.empty() ? "nothing" : kept_[tensor].name, first, last - 1, oldest(), length_ - 1,
        sinks_held() > 0 ? fmt::format(" or 0 .. {}", sinks_held() - 1) : std::string()));
  }

  std::vector<KeptTensor> kept_;
  CacheSize size_;
  std::vector<Array> rows_;    // [heads, slots, width] of each tensor
  std::vector<uint8_t> real_;  // [slots]
  int64_t length_ = 0;
};

}  // namespace

std::unique_ptr<KeyCache> make_ring_cache(std::span<const KeptTensor> kept, const CacheSize& size) {
  return std::make_unique<RingCache>(kept, size);
}

int64_t cache_bytes_per_position(std::span<const KeptTensor> kept) {
  int64_t bytes = 1;
  for (const KeptTensor& tensor : kept) {
    bytes += tensor.heads * tensor.width * static_cast<int64_t>(sizeof(double));
  }
  return bytes;
}

}  // namespace assay::reference
