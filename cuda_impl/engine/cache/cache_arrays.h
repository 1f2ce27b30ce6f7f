// The arrays of a cache, whose first extent is that of sequences or of blocks, in memory that grows
// where the number of blocks is not given.
#pragma once

#include <algorithm>
#include <new>
#include <utility>
#include <vector>

#include "cuda_impl/engine/cache/cache_places.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Derived has
//   void carve(Carver&, int64_t blocks, int64_t rows)   lays the arrays out
//   void for_arrays(use)                                use(View<T, 4>&) for each of them
//   void moved()                                        the arrays lie elsewhere
// A block of an array is one piece of memory, so that blocks are copied and arrays grow in whole
// pieces.
template <class Derived>
class CacheArrays : public CachePlaces {
 public:
  CacheArrays(const CacheExtent& extent, Stream stream) : CachePlaces(extent, stream) {}

  int64_t bytes() const { return static_cast<int64_t>(arena_.bytes() + place_bytes()); }
  // How often the arrays have moved: what was recorded with their addresses then is of no use.
  int64_t moves() const { return moves_; }

  // Room for counts[b] positions behind lengths[b]: memory, blocks, and copies of those that others
  // hold too. Throws InputError where too few blocks are free, and what the allocator throws,
  // with nothing changed.
  void make_room(std::span<const int64_t> lengths, std::span<const int32_t> new_counts) {
    if (pool_ == nullptr) return;
    hold(pool_->check(lengths, new_counts));
    for (const BlockPool::Copy& copy : pool_->extend(lengths, new_counts)) copy_block(copy);
    upload_tables();
  }

  // Sequence `to` begins as the first `count` positions of `from`, of `length`.
  bool share_rows(int64_t from, int64_t to, int64_t count, int64_t length) {
    if (pool_ == nullptr) {
      derived().for_arrays([&](auto& array) { copy_rows(array, from, to, count); });
    } else if (!pool_->share(from, to, count, length)) {
      return false;
    }
    copy_mask(from, to, count);
    return true;
  }

 protected:
  // At the end of Derived's constructor.
  void allocate() {
    if (pool_ == nullptr) {
      lay_out(arena_, sequences());
      derived().moved();
    } else {
      hold(grows ? std::min(sequences(), pool_->size().blocks) : pool_->size().blocks);
    }
  }

 private:
  Derived& derived() { return static_cast<Derived&>(*this); }

  void lay_out(Arena& arena, int64_t blocks) {
    arena.plan([&](Carver& carver) { derived().carve(carver, blocks, block_rows()); });
    held_ = blocks;
  }

  // Memory for so many blocks: half as many again as there were, unless that is more than there is.
  void hold(int64_t needed) {
    if (needed <= held_) return;
    const int64_t most = pool_->size().blocks;
    const int64_t usual = std::clamp(held_ + held_ / 2, needed, most);
    try {
      grow(usual);
    } catch (const std::bad_alloc&) {
      if (usual == needed) throw;
      grow(needed);
    }
  }

  void grow(int64_t blocks) {
    const int64_t before = held_;
    std::vector<std::pair<const void*, std::size_t>> old;
    derived().for_arrays([&](auto& array) {
      if (array.data != nullptr) old.emplace_back(array.data, bytes_of(array, before));
    });
    Arena next;
    try {
      lay_out(next, blocks);
    } catch (...) {
      if (before > 0) lay_out(arena_, before);
      throw;
    }
    auto from = old.begin();
    derived().for_arrays([&](auto& array) {
      if (before > 0) simt::device_copy(array.data, from->first, from->second, stream_);
      if (before > 0) ++from;
    });
    simt::synchronize();  // the old memory goes
    arena_ = std::move(next);
    ++moves_;
    derived().moved();
  }

  template <class T>
  static std::size_t bytes_of(const View<T, 4>& array, int64_t blocks) {
    const auto [all, heads, rows, width] = array.shape;
    return static_cast<std::size_t>(blocks * heads * rows * width) * sizeof(T);
  }

  void copy_block(const BlockPool::Copy& copy) {
    derived().for_arrays([&](auto& array) {
      const std::size_t bytes = bytes_of(array, 1);
      const auto elements = static_cast<int64_t>(bytes / sizeof(*array.data));
      simt::device_copy(array.data + copy.to * elements, array.data + copy.from * elements, bytes,
                        stream_);
    });
  }

  template <class T>
  void copy_rows(const View<T, 4>& array, int64_t from, int64_t to, int64_t count) const {
    const auto [B, heads, R, W] = array.shape;
    for (int64_t h = 0; h < heads; ++h) {
      simt::device_copy(array.data + (to * heads + h) * R * W,
                        array.data + (from * heads + h) * R * W,
                        static_cast<std::size_t>(count * W) * sizeof(T), stream_);
    }
  }

  Arena arena_;
  int64_t held_ = 0;  // blocks that there is memory for
  int64_t moves_ = 0;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
