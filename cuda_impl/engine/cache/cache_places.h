// Which positions of a cache hold something, and where those of a chunk go.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "cuda_impl/engine/cache/block_pool.h"
#include "cuda_impl/engine/interface/model.h"
#include "cuda_impl/engine/memory/arena.h"
#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// What a cache holds of a sequence: `rows` of its `positions`, all of them or by a ring; or blocks.
struct CacheExtent {
  int64_t sequences = 0, positions = 0, rows = 0;
  Ring ring;
  BlockPool::Size blocks;  // rows 0: none
  bool grows = false;      // memory for blocks is taken when they are
};

// Of a decoder for sequences of up to `positions`, read in chunks of up to `chunk`. A window where
// every layer has one, no parameter has a value for each position, and it is smaller. Without
// blocks a ring keeps it:
//   kept  = sinks,  round = window + chunk - 1 + 63, both rounded up to multiples of 64
// so that the oldest position that the chunk's first query sees, and those before it in its tile of
// keys, are there beside the chunk. With blocks those of the same positions stay.
CacheExtent cache_extent(const golden::ModelConfig& config, const CacheBlocks& blocks,
                         int64_t sequences, int64_t positions, int64_t chunk);

// With blocks the mask alone has a place for every position of the longest sequence.
class CachePlaces {
 public:
  CachePlaces(const CacheExtent& extent, Stream stream);

  const int64_t positions;  // that a sequence may have
  const Ring ring;          // in whose rows they are
  const bool grows;
  BlockTable block_table;            // or in which blocks
  View<uint8_t, 2> padding_mask;     // [B,rows or positions], 0 = padding, or nothing yet
  View<int32_t, 1> position_offset;  // [B]: where this step's positions begin
  View<int32_t, 1> counts;           // [B]: how many of a chunk's a row has

  int64_t sequences() const { return padding_mask.shape[0]; }
  // Of a sequence: how many positions it can keep at a time.
  int64_t kept_rows() const;
  // Whether no row of a sequence of that length has been written twice: position p is in row p.
  bool holds_all(int64_t length) const {
    return ring.round == 0 || length <= int64_t{ring.kept} + ring.round;
  }
  // For a chunk whose counts are there, behind sequences of these lengths [B].
  void place(std::span<const int64_t> lengths, const Chunk& chunk) const;
  // The chunk has been read.
  void let_go(std::span<const int64_t> lengths);
  bool reserve(int64_t sequence, int64_t count) {
    return pool_ == nullptr || pool_->reserve(sequence, count);
  }
  // Gives back the blocks of a sequence.
  void release(int64_t sequence);
  BlockUse block_use() const { return pool_ == nullptr ? BlockUse{} : pool_->use(); }

 protected:
  // The first extents of an array of the cache: [blocks, heads, rows of a block], without blocks
  // [B, heads, R].
  int64_t block_rows() const { return pool_ == nullptr ? padding_mask.shape[1] : block_table.rows; }
  // The first of a mask's positions to another's; nothing is held behind them.
  void copy_mask(int64_t from, int64_t to, int64_t count) const;
  void clear_mask(int64_t sequence, int64_t first) const;
  void upload_tables() const;
  std::size_t place_bytes() const { return places_.bytes(); }

  const Stream stream_;
  std::unique_ptr<BlockPool> pool_;  // null: no blocks

 private:
  Arena places_;
  View<int32_t, 2> tables_;  // [B,columns]
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
