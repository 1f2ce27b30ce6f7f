// Which positions of a cache [B,R] hold something, and where those of a chunk go.
#pragma once

#include <vector>

#include "cuda_impl/engine/interface/model.h"
#include "cuda_impl/engine/memory/arena.h"
#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// What a cache holds of a sequence: `rows` of its `positions`, all of them or by a ring.
struct CacheExtent {
  int64_t positions = 0, rows = 0;
  Ring ring;
};

// Of a decoder for sequences of up to `positions`, read in chunks of up to `chunk`. A ring where
// every layer has a window, no parameter has a value for each position, and it is smaller.
//   kept  = sinks,  round = window + chunk - 1 + 63, both rounded up to multiples of 64
// so that the oldest position that the chunk's first query sees, and those before it in its tile of
// keys, are there beside the chunk.
CacheExtent cache_extent(const golden::ModelConfig& config, int64_t positions, int64_t chunk);

struct CachePlaces {
  int64_t positions = 0;             // that a sequence may have
  Ring ring;                         // in whose rows they are
  View<uint8_t, 2> padding_mask;     // [B,R], 0 = padding, or nothing yet
  View<int32_t, 1> position_offset;  // [B]: where this step's positions begin
  View<int32_t, 1> counts;           // [B]: how many of a chunk's a row has

  void carve(Carver& carver, int64_t B, int64_t R) {
    padding_mask = carver.view<uint8_t>({B, R});
    position_offset = carver.view<int32_t>({B});
    counts = carver.view<int32_t>({B});
  }
  // A row shorter than its neighbours is read past its end: as padding, whatever the memory holds.
  void clear(Stream stream) const {
    const std::vector<uint8_t> unread(
        static_cast<std::size_t>(padding_mask.shape[0] * padding_mask.shape[1]), 0);
    simt::copy_in(padding_mask.data, unread.data(), unread.size(), stream);
  }
  // Whether no row of a sequence of that length has been written twice: position p is in row p.
  bool holds_all(int64_t length) const {
    return ring.round == 0 || length <= int64_t{ring.kept} + ring.round;
  }
  // The first rows of sequence `from` to those of `to`: of the mask, and of an array.
  void copy_mask(int64_t from, int64_t to, int64_t count, Stream stream) const {
    const int64_t R = padding_mask.shape[1];
    simt::device_copy(padding_mask.data + to * R, padding_mask.data + from * R,
                      static_cast<std::size_t>(count), stream);
  }
  template <class T>
  static void copy_rows(const View<T, 4>& array, int64_t from, int64_t to, int64_t count,
                        Stream stream) {
    const auto [B, heads, R, W] = array.shape;
    for (int64_t h = 0; h < heads; ++h) {
      simt::device_copy(array.data + (to * heads + h) * R * W,
                        array.data + (from * heads + h) * R * W,
                        static_cast<std::size_t>(count * W) * sizeof(T), stream);
    }
  }
  // For a chunk whose counts are there, behind sequences of these lengths [B].
  void place(std::span<const int64_t> lengths, const Chunk& chunk, Stream stream) const {
    const std::vector<int32_t> begin(lengths.begin(), lengths.end());
    simt::copy_in(position_offset.data, begin.data(), begin.size() * sizeof(int32_t), stream);
    simt::copy_in(counts.data, chunk.counts.data(), chunk.counts.size_bytes(), stream);
  }
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
