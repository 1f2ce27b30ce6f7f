// What a stream keeps of one sequence: for each tensor that later positions read (keys, values,
// values of layers run again, factors of keys) the rows of the positions that may still be read.
//
//   tensor i        heads x width doubles a position
//   position        absolute: 0 is the sequence's first, whatever has been evicted since
//   sinks           the first positions, kept for ever where a window says so
//
// Reading is by position and chronological. A position that has been evicted, or has not come yet,
// is never readable: asking for it is an InputError that names the valid range.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace assay::reference {

// A tensor of which rows are kept.
struct KeptTensor {
  std::string name;  // "layers/1/attn/k"; the graph's words for one without a name
  int64_t heads = 0, width = 0;
  bool windowed = false;  // no layer reads it behind the config's window, sinks apart
};

// Rows of one tensor: row i of head h is data[h*head_stride + i*width ..].
struct KeptRows {
  const double* data = nullptr;
  int64_t head_stride = 0;
};

// Where a cache stood, and what was overwritten since: each cache has its own.
struct CacheMark {
  virtual ~CacheMark() = default;
};

class KeyCache {
 public:
  virtual ~KeyCache() = default;

  // Appends `count` positions: rows[i] of tensor i, and whether each position is real (1) or
  // padding (0). The oldest beyond the capacity are evicted. Nothing happens if it throws.
  virtual void append(int64_t count, std::span<const KeptRows> rows,
                      std::span<const uint8_t> real) = 0;
  // Positions first .. last-1 of a tensor: p of head h to to[h*head_stride + (p-first)*width ..].
  virtual void read(std::size_t tensor, int64_t first, int64_t last, double* to,
                    int64_t head_stride) = 0;
  virtual bool is_real(int64_t position) const = 0;

  virtual int64_t length() const = 0;     // positions appended so far: the next one's number
  virtual int64_t oldest() const = 0;     // the first that is held, sinks apart; length() if none
  virtual int64_t held() const = 0;       // positions held, sinks included
  virtual int64_t evictions() const = 0;  // positions evicted since the last reset
  virtual int64_t bytes() const = 0;      // allocated
  virtual void reset() = 0;               // an empty sequence

  // Makes it possible to go back from where up to `count` further positions have been appended.
  virtual std::unique_ptr<CacheMark> mark(int64_t count) const = 0;
  virtual void go_back(const CacheMark& to) noexcept = 0;  // to a mark of this cache
};

// Bytes of a cache that one position takes: 8 for each double kept, 1 for whether it is real.
int64_t cache_bytes_per_position(std::span<const KeptTensor> kept);

// `capacity` positions beside `sinks`; of tensors that are windowed `windowed` of them, 0 for as
// many as of the others. Lengths, evictions and valid ranges are those of the others.
struct CacheSize {
  int64_t capacity = 0, sinks = 0, windowed = 0;
};
using KeyCacheFactory =
    std::function<std::unique_ptr<KeyCache>(std::span<const KeptTensor>, const CacheSize&)>;

}  // namespace assay::reference
