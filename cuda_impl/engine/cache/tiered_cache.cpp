#include "cuda_impl/engine/cache/tiered_cache.h"

#include <fmt/format.h>

#include <algorithm>

#include "golden/contract/error.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

TieredSize checked_size(const TieredSize& size) {
  const bool blocks = size.block >= 1 && size.capacity >= 4 && size.capacity % 4 == 0 &&
                      size.capacity / 4 % size.block == 0;
  if (!blocks) {
    throw InputError(fmt::format(
        "tiered cache: capacity: expected 4 blocks or a multiple, got {} positions in blocks of {}",
        size.capacity, size.block));
  }
  if (size.row_bytes < 1) {
    throw InputError(
        fmt::format("tiered cache: row_bytes: expected at least 1, got {}", size.row_bytes));
  }
  constexpr int64_t kMostBytes = int64_t{1} << 46;  // of a machine: more is a mistake
  if (size.capacity > kMostBytes / size.row_bytes) {
    throw InputError(fmt::format("tiered cache: expected at most {} bytes, got {} positions of {}",
                                 kMostBytes, size.capacity, size.row_bytes));
  }
  return size;
}

std::size_t bytes_of(int64_t count) { return static_cast<std::size_t>(count); }

}  // namespace

TieredCache::TieredCache(const TieredSize& size, simt::Stream stream)
    : size_(checked_size(size)),
      stream_(stream),
      slots_(half() + 1),
      device_(bytes_of(slots_ * block_bytes())),
      host_(simt::host_memory(bytes_of(slots_ * block_bytes()))) {}

TieredCache::~TieredCache() {
  try {
    simt::synchronize();  // copies may be on their way
  } catch (const simt::Error&) {
    // The device is gone, and its copies with it.
  }
}

std::byte* TieredCache::device_row(int64_t position) const {
  const int64_t slot = position / size_.block % slots_;
  return device_.get() + slot * block_bytes() + position % size_.block * size_.row_bytes;
}

std::byte* TieredCache::host_row(int64_t position) const {
  const int64_t slot = position / size_.block % slots_;
  return host_.get() + slot * block_bytes() + position % size_.block * size_.row_bytes;
}

int64_t TieredCache::oldest() const { return std::max<int64_t>(0, length_ - size_.capacity); }

// The oldest warm block goes to the host. The slot of the block that begins was freed by the move
// before: what follows on the caller's stream has to wait for that one alone.
void TieredCache::begin_block(int64_t block) {
  moved_.make_wait(stream_);
  const int64_t demoted = block - half();
  if (demoted < 0) return;
  queued_.record(stream_);
  queued_.make_wait(copies_.get());
  const int64_t first = demoted * size_.block;
  simt::begin_copy_out(host_row(first), device_row(first), bytes_of(block_bytes()), copies_.get());
  moved_.record(copies_.get());
  ++use_.demotions;
}

void TieredCache::append(const void* rows, int64_t count) {
  if (count < 0) {
    throw InputError(fmt::format("tiered cache: append: expected 0 rows or more, got {}", count));
  }
  const auto* from = static_cast<const std::byte*>(rows);
  for (int64_t left = count; left > 0;) {
    const int64_t inside = length_ % size_.block;
    if (inside == 0) begin_block(length_ / size_.block);
    const int64_t run = std::min(left, size_.block - inside);
    simt::device_copy(device_row(length_), from, bytes_of(run * size_.row_bytes), stream_);
    from += run * size_.row_bytes;
    length_ += run;
    left -= run;
  }
  use_.evictions = oldest();
}

// Copies from `first` on what lies in one tier, in slots that follow one another; returns its end.
int64_t TieredCache::read_run(int64_t first, int64_t last, std::byte* out, bool& from_host) {
  const int64_t b = size_.block;
  const int64_t first_on_device = (newest_block() - half() + 1) * b;
  const bool cold = first < first_on_device;
  const int64_t ring_end = (first / b / slots_ + 1) * slots_ * b;
  const int64_t end = std::min({last, ring_end, cold ? first_on_device : last});
  const int64_t blocks = (end - 1) / b - first / b + 1;
  const std::size_t bytes = bytes_of((end - first) * size_.row_bytes);
  if (cold) {
    if (!from_host) {  // what is queued may still write to, or read, where the copies go
      queued_.record(stream_);
      queued_.make_wait(copies_.get());
    }
    from_host = true;
    use_.misses += blocks;
    simt::begin_copy_in(out, host_row(first), bytes, copies_.get());
  } else {
    use_.hits += blocks;
    simt::device_copy(out, device_row(first), bytes, stream_);
  }
  return end;
}

void TieredCache::read(int64_t first, int64_t last, void* out) {
  if (first > last || first < oldest() || last > length_) {
    throw InputError(
        fmt::format("tiered cache: positions {} .. {} are not held: expected within {} .. {}",
                    first, last - 1, oldest(), length_ - 1));
  }
  auto* to = static_cast<std::byte*>(out);
  bool from_host = false;
  for (int64_t at = first; at < last;) {
    const int64_t end = read_run(at, last, to + (at - first) * size_.row_bytes, from_host);
    at = end;
  }
  if (!from_host) return;
  read_.record(copies_.get());
  read_.make_wait(stream_);
}

void TieredCache::reset() {
  length_ = 0;
  use_ = {};
}

TierUse TieredCache::use() const {
  TierUse use = use_;
  const int64_t b = size_.block;
  const int64_t warm = std::max(oldest(), (newest_block() - half() + 1) * b);
  const int64_t hot = std::max(oldest(), (newest_block() - half() / 2 + 1) * b);
  if (length_ == 0) return use;
  use.hot_bytes = (length_ - hot) * size_.row_bytes;
  use.warm_bytes = (hot - warm) * size_.row_bytes;
  use.cold_bytes = (warm - oldest()) * size_.row_bytes;
  return use;
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
