// The newest R positions of one sequence in three tiers by recency: the newest quarter (hot) and
// the next (warm) on the device, the oldest half (cold) on the host.
//
//   device   R/2b + 1 blocks of b rows, a ring: block k in slot k mod (R/2b + 1)
//   host     R/2b + 1 blocks, pinned, likewise
//
// Appending to a block that begins moves the oldest warm block to the host, as one copy on a stream
// of its own, beside the compute: the block that begins has the slot that was left free by the move
// before, so nothing waits for this one. From hot to warm a block only changes its name. The slot
// above R/2b of each ring is that of the block on its way, and of the one that is partly evicted.
//
// Reading is by position and chronological, whatever tiers a range lies in. A read of cold
// positions is a copy to the device, a block or its part each (a miss); those copies run on the own
// stream too, and what is queued on the caller's stream behind read() sees all of it.
//
// Memory is taken once; append and read allocate nothing.
// CPU counterpart: reference/streaming/tiered_cache.h
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda_impl/simt/transfers.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

struct TierUse {
  int64_t hits = 0, misses = 0;                           // blocks read: hot or warm, and cold
  int64_t evictions = 0;                                  // positions
  int64_t demotions = 0;                                  // blocks moved to the host
  int64_t hot_bytes = 0, warm_bytes = 0, cold_bytes = 0;  // of the positions held
};

struct TieredSize {
  int64_t capacity = 0;   // R positions; a quarter is a whole number of blocks
  int64_t block = 16;     // b positions
  int64_t row_bytes = 0;  // of a position
};

class TieredCache {
 public:
  // Throws InputError for a size that has no tiers, and what the allocator throws where there is no
  // memory. Work is queued on `stream`.
  explicit TieredCache(const TieredSize& size, simt::Stream stream = nullptr);
  ~TieredCache();
  TieredCache(const TieredCache&) = delete;
  TieredCache& operator=(const TieredCache&) = delete;

  // rows [count,row_bytes] on the device.
  void append(const void* rows, int64_t count);
  // Positions first .. last-1 to `out` [last-first,row_bytes] on the device. Throws InputError that
  // names the valid range for one that is not held.
  void read(int64_t first, int64_t last, void* out);
  void reset();

  int64_t length() const { return length_; }
  int64_t oldest() const;  // the first position that is held; length() if none is
  TierUse use() const;
  int64_t device_bytes() const { return static_cast<int64_t>(device_.size()); }
  int64_t host_bytes() const { return slots_ * block_bytes(); }

 private:
  int64_t half() const { return size_.capacity / 2 / size_.block; }  // blocks
  int64_t block_bytes() const { return size_.block * size_.row_bytes; }
  int64_t newest_block() const { return (length_ - 1) / size_.block; }
  std::byte* device_row(int64_t position) const;
  std::byte* host_row(int64_t position) const;
  void begin_block(int64_t block);
  int64_t read_run(int64_t first, int64_t last, std::byte* out, bool& from_host);

  TieredSize size_;
  simt::Stream stream_;
  int64_t slots_;
  simt::Buffer<std::byte> device_;
  simt::HostMemory host_;
  simt::OwnStream copies_;
  simt::Event queued_, moved_, read_;
  int64_t length_ = 0;
  TierUse use_;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
