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
      const bool shorter = tensor.windowed && size.windowed > 0;
      capacities_.push_back(shorter ? std::min(size.windowed, size.capacity) : size.capacity);
      const int64_t slots = size.sinks + capacities_.back();
      rows_.push_back(Array::uninitialized({tensor.heads, slots, tensor.width}));
    }
    real_.resize(static_cast<std::size_t>(size.sinks + size.capacity));
  }

  void append(int64_t count, std::span<const KeptRows> rows,
              std::span<const uint8_t> real) override {
    ASSAY_CHECK(rows.size() == kept_.size(), fmt::format("{} {}", rows.size(), kept_.size()));
    ASSAY_CHECK(static_cast<int64_t>(real.size()) == count, std::to_string(count));
    for (int64_t i = 0; i < count; ++i) {
      const int64_t position = length_ + i;
      // Evicted by the same append.
      const auto passes = [&](int64_t capacity) {
        return position >= size_.sinks && i + capacity < count;
      };
      for (std::size_t tensor = 0; tensor < kept_.size(); ++tensor) {
        if (passes(capacities_[tensor])) continue;
        put(tensor, slot_of(position, capacities_[tensor]), rows, i);
      }
      if (passes(size_.capacity)) continue;
      real_[real_slot(position)] = real[static_cast<std::size_t>(i)];
    }
    length_ += count;
  }

  void read(std::size_t tensor, int64_t first, int64_t last, double* to,
            int64_t head_stride) override {
    check_range(kept_[tensor].name, capacities_[tensor], first, last);
    const int64_t width = kept_[tensor].width;
    for (int64_t position = first; position < last;) {  // runs of slots that follow one another
      const int64_t slot = slot_of(position, capacities_[tensor]);
      const int64_t end = position < size_.sinks ? size_.sinks : slots(tensor);
      const int64_t run = std::min(last - position, end - slot);
      for (int64_t h = 0; h < kept_[tensor].heads; ++h) {
        const double* from = row(tensor, h, slot);
        std::copy(from, from + run * width, to + h * head_stride + (position - first) * width);
      }
      position += run;
    }
  }

  bool is_real(int64_t position) const override {
    check_range("padding", size_.capacity, position, position + 1);
    return real_[real_slot(position)] != 0;
  }

  int64_t length() const override { return length_; }
  int64_t oldest() const override { return oldest_of(size_.capacity); }
  int64_t held() const override { return sinks_held() + length_ - oldest(); }
  int64_t evictions() const override { return length_ - held(); }
  int64_t bytes() const override {
    auto bytes = static_cast<int64_t>(real_.size());
    for (const Array& rows : rows_) bytes += rows.size() * static_cast<int64_t>(sizeof(double));
    return bytes;
  }
  void reset() override { length_ = 0; }

  std::unique_ptr<CacheMark> mark(int64_t count) const override {
    auto mark = std::make_unique<RingMark>();
    mark->length = length_;
    for (std::size_t tensor = 0; tensor < kept_.size(); ++tensor) {
      for_overwritten(count, capacities_[tensor], [&](int64_t slot) {
        for (int64_t h = 0; h < kept_[tensor].heads; ++h) {
          const double* from = row(tensor, h, slot);
          mark->rows.insert(mark->rows.end(), from, from + kept_[tensor].width);
        }
      });
    }
    for_overwritten(count, size_.capacity, [&](int64_t slot) {
      mark->real.push_back(real_[static_cast<std::size_t>(slot)]);
    });
    mark->count = count;
    return mark;
  }

  void go_back(const CacheMark& to) noexcept override {
    const auto& mark = static_cast<const RingMark&>(to);
    length_ = mark.length;
    const double* from = mark.rows.data();
    for (std::size_t tensor = 0; tensor < kept_.size(); ++tensor) {
      for_overwritten(mark.count, capacities_[tensor], [&](int64_t slot) {
        for (int64_t h = 0; h < kept_[tensor].heads; ++h, from += kept_[tensor].width) {
          std::copy(from, from + kept_[tensor].width, row(tensor, h, slot));
        }
      });
    }
    const uint8_t* real = mark.real.data();
    for_overwritten(mark.count, size_.capacity,
                    [&](int64_t slot) { real_[static_cast<std::size_t>(slot)] = *real++; });
  }

 private:
  struct RingMark final : CacheMark {
    int64_t length = 0, count = 0;
    std::vector<double> rows;   // of the slots that `count` positions overwrite, by tensor
    std::vector<uint8_t> real;  // likewise
  };

  // The slots of held positions that the next `count` positions take.
  template <class Body>
  void for_overwritten(int64_t count, int64_t capacity, const Body& body) const {
    if (length_ <= size_.sinks) return;  // sinks are never overwritten
    const int64_t end = std::min(length_, length_ + count - capacity);
    for (int64_t p = oldest_of(capacity); p < end; ++p) body(slot_of(p, capacity));
  }

  int64_t slots(std::size_t tensor) const { return size_.sinks + capacities_[tensor]; }
  int64_t oldest_of(int64_t capacity) const { return std::max(sinks_held(), length_ - capacity); }
  int64_t sinks_held() const { return std::min(length_, size_.sinks); }
  int64_t slot_of(int64_t position, int64_t capacity) const {
    if (position < size_.sinks) return position;
    return size_.sinks + (position - size_.sinks) % capacity;
  }
  std::size_t real_slot(int64_t position) const {
    return static_cast<std::size_t>(slot_of(position, size_.capacity));
  }

  const double* row(std::size_t tensor, int64_t head, int64_t slot) const {
    return rows_[tensor].data() + (head * slots(tensor) + slot) * kept_[tensor].width;
  }
  double* row(std::size_t tensor, int64_t head, int64_t slot) {
    return rows_[tensor].data() + (head * slots(tensor) + slot) * kept_[tensor].width;
  }
  void put(std::size_t tensor, int64_t slot, std::span<const KeptRows> rows, int64_t i) {
    const int64_t width = kept_[tensor].width;
    for (int64_t h = 0; h < kept_[tensor].heads; ++h) {
      const double* from = rows[tensor].data + h * rows[tensor].head_stride + i * width;
      std::copy(from, from + width, rows_[tensor].data() + (h * slots(tensor) + slot) * width);
    }
  }

  void check_range(const std::string& name, int64_t capacity, int64_t first, int64_t last) const {
    const int64_t oldest = oldest_of(capacity);
    const bool sinks = first >= 0 && last <= sinks_held();
    const bool newest = first >= oldest && last <= length_;
    // Nothing has been evicted between sinks and the newest: one range.
    const bool all = oldest == sinks_held() && first >= 0 && last <= length_;
    if (first <= last && (sinks || newest || all)) return;
    throw InputError(fmt::format(
        "cache: {}: positions {} .. {} are not held: expected within {} "
        ".. {}{}",
        name, first, last - 1, oldest, length_ - 1,
        sinks_held() > 0 ? fmt::format(" or 0 .. {}", sinks_held() - 1) : std::string()));
  }

  std::vector<KeptTensor> kept_;
  CacheSize size_;
  std::vector<int64_t> capacities_;  // of each tensor, sinks apart
  std::vector<Array> rows_;          // [heads, slots, width] of each tensor
  std::vector<uint8_t> real_;        // [slots]
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
