#include "cuda_impl/engine/cache/cache_places.h"

#include <algorithm>

#include "golden/contract/methods.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

int64_t in_tiles(int64_t rows) { return (rows + kRingTile - 1) / kRingTile * kRingTile; }

BlockPool::Size pool_size(const CacheBlocks& blocks, int64_t sequences, int64_t positions,
                          int64_t chunk, const Kept& kept) {
  BlockPool::Size size{.sequences = sequences, .capacity = positions, .chunk = chunk, .kept = kept};
  // A block larger than a sequence is the whole of it.
  const auto block = static_cast<int64_t>(blocks.positions);
  size.rows = std::min(block, positions);
  const int64_t all = sequences * ((positions + size.rows - 1) / size.rows);
  size.blocks = blocks.count == 0 ? all : static_cast<int64_t>(blocks.count);
  return size;
}

}  // namespace

CacheExtent cache_extent(const golden::ModelConfig& config, const CacheBlocks& blocks,
                         int64_t sequences, int64_t positions, int64_t chunk) {
  CacheExtent extent{.sequences = sequences,
                     .positions = positions,
                     .rows = positions,
                     .ring = {},
                     .blocks = {},
                     .grows = blocks.count == 0};
  const bool by_position = golden::find_method(config.method).takes("score_positions");
  const int64_t kept = in_tiles(config.sink_tokens);
  const int64_t round = in_tiles(config.window + chunk - 1 + kRingTile - 1);
  const bool is_bounded =
      config.window > 0 && config.full_layers.empty() && !by_position && kept + round < positions;
  if (blocks.positions > 0) {
    const Kept window = is_bounded ? Kept{.sinks = kept, .reach = config.window} : Kept{};
    extent.blocks = pool_size(blocks, sequences, positions, chunk, window);
  } else if (is_bounded) {
    extent.rows = kept + round;
    extent.ring = {.kept = static_cast<int>(kept), .round = static_cast<int>(round)};
  }
  return extent;
}

CachePlaces::CachePlaces(const CacheExtent& extent, Stream stream)
    : positions(extent.positions), ring(extent.ring), grows(extent.grows), stream_(stream) {
  if (extent.blocks.rows > 0) pool_ = std::make_unique<BlockPool>(extent.blocks);
  places_.plan([&](Carver& carver) {
    padding_mask = carver.view<uint8_t>({extent.sequences, extent.rows});
    position_offset = carver.view<int32_t>({extent.sequences});
    counts = carver.view<int32_t>({extent.sequences});
    if (pool_ != nullptr) tables_ = carver.view<int32_t>({extent.sequences, pool_->columns()});
  });
  for (int64_t b = 0; b < extent.sequences; ++b) clear_mask(b, 0);
  if (pool_ == nullptr) return;
  block_table = {.blocks = tables_.data,
                 .rows = static_cast<int>(pool_->size().rows),
                 .columns = static_cast<int>(pool_->columns())};
  upload_tables();
}

int64_t CachePlaces::kept_rows() const {
  return pool_ == nullptr ? padding_mask.shape[1] : pool_->most_at_once() * block_table.rows;
}

// A row shorter than its neighbours is read past its end: as padding, whatever the memory holds.
void CachePlaces::clear_mask(int64_t sequence, int64_t first) const {
  const int64_t R = padding_mask.shape[1];
  const std::vector<uint8_t> unread(static_cast<std::size_t>(R - first), 0);
  if (unread.empty()) return;
  simt::copy_in(padding_mask.data + sequence * R + first, unread.data(), unread.size(), stream_);
}

void CachePlaces::copy_mask(int64_t from, int64_t to, int64_t count) const {
  const int64_t R = padding_mask.shape[1];
  simt::device_copy(padding_mask.data + to * R, padding_mask.data + from * R,
                    static_cast<std::size_t>(count), stream_);
  if (pool_ != nullptr) clear_mask(to, count);
}

void CachePlaces::place(std::span<const int64_t> lengths, const Chunk& chunk) const {
  const std::vector<int32_t> begin(lengths.begin(), lengths.end());
  simt::copy_in(position_offset.data, begin.data(), begin.size() * sizeof(int32_t), stream_);
  simt::copy_in(counts.data, chunk.counts.data(), chunk.counts.size_bytes(), stream_);
}

void CachePlaces::let_go(std::span<const int64_t> lengths) {
  if (pool_ == nullptr) return;
  for (std::size_t b = 0; b < lengths.size(); ++b) {
    pool_->let_go(static_cast<int64_t>(b), lengths[b]);
  }
}

// What a sequence held is in blocks of others before it is read again.
void CachePlaces::release(int64_t sequence) {
  if (pool_ == nullptr) return;
  pool_->release(sequence);
  clear_mask(sequence, 0);
}

void CachePlaces::upload_tables() const {
  for (const int64_t b : pool_->take_changed()) {
    const std::span<const int32_t> row = pool_->row(b);
    simt::copy_in(tables_.data + b * pool_->columns(), row.data(), row.size_bytes(), stream_);
  }
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
