#include "cuda_impl/engine/cache/block_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <stdexcept>

#include "cuda_impl/kernels/kernels.h"
#include "golden/contract/error.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

BlockPool::BlockPool(const Size& size)
    : size_(size),
      columns_(columns_of(size.capacity)),
      sequences_(static_cast<std::size_t>(size.sequences)) {
  for (Sequence& sequence : sequences_) {
    sequence.blocks.assign(static_cast<std::size_t>(columns_), 0);
  }
}

std::span<const int32_t> BlockPool::row(int64_t sequence) const { return at(sequence).blocks; }

// ------------------------------------------------------------------------------------------------
// what is promised

// Of k that hold a block the last to write to it needs no copy.
int64_t BlockPool::copies_promised(const Block& of) const {
  return std::clamp<int64_t>(of.holders - 1, 0, of.writers);
}

int64_t BlockPool::promised() const {
  int64_t all = promised_copies_;
  for (const Sequence& sequence : sequences_) all += sequence.promised;
  return all;
}

void BlockPool::add_holders(Block& of, int32_t holders, int32_t writers) {
  promised_copies_ -= copies_promised(of);
  of.holders += holders;
  of.writers += writers;
  promised_copies_ += copies_promised(of);
}

// The first column behind the sinks that a query behind `length` positions reads: whole tiles of
// keys are read, of up to kRingTile, from a multiple of that on.
int64_t BlockPool::first_column(int64_t length) const {
  if (!lets_go()) return 0;
  const int64_t oldest = std::max<int64_t>(0, length - size_.kept.reach);
  return oldest / kRingTile * kRingTile / size_.rows;
}

// Blocks that a sequence holds at a time.
int64_t BlockPool::most_at_once() const {
  if (!lets_go()) return columns_;
  const int64_t span = size_.kept.reach + kRingTile - 1 + size_.chunk;
  return std::min(columns_, sink_columns() + columns_of(span) + 1);
}

bool BlockPool::reserve(int64_t sequence, int64_t positions) {
  Sequence& s = at(sequence);
  const int64_t wanted = std::min(columns_of(positions), most_at_once());
  // Where blocks are let go, what is shared may be replaced by another block later.
  const int64_t held = lets_go() ? 0 : s.end;
  const int64_t more = std::max<int64_t>(0, wanted - held);
  if (more > free_blocks() - promised() + s.promised) return false;
  s.wanted = wanted;
  s.promised = more;
  return true;
}

// ------------------------------------------------------------------------------------------------
// a sequence grows

bool BlockPool::holds(const Sequence& sequence, int64_t column) const {
  const int64_t sinks = std::min(sink_columns(), sequence.end);
  return column < sinks || (column >= sequence.first && column < sequence.end);
}

BlockPool::Need BlockPool::need_of(std::span<const int64_t> lengths,
                                   std::span<const int32_t> counts) const {
  Need need;
  std::map<int32_t, int64_t> writers;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    if (counts[i] == 0) continue;
    const Sequence& s = sequences_[i];
    const int64_t end = columns_of(lengths[i] + counts[i]);
    const int64_t fresh = std::max<int64_t>(0, end - s.end);
    need.fresh += fresh;
    need.unpromised += std::max<int64_t>(0, fresh - s.promised);
    for (int64_t c = lengths[i] / size_.rows; c < std::min(s.end, end); ++c) {
      const int32_t id = s.blocks[static_cast<std::size_t>(c)];
      if (block(id).holders > 1) ++writers[id];
    }
  }
  for (const auto& [id, count] : writers) {
    const int64_t copies = std::min<int64_t>(count, block(id).holders - 1);
    need.copies += copies;
    need.unpromised += std::max<int64_t>(0, copies - copies_promised(block(id)));
  }
  return need;
}

int64_t BlockPool::check(std::span<const int64_t> lengths, std::span<const int32_t> counts) const {
  const Need need = need_of(lengths, counts);
  const int64_t all = need.fresh + need.copies, left = free_blocks() - promised();
  if (need.unpromised > left) {
    throw InputError(fmt::format(
        "decoder: cache blocks: the chunk takes {} more blocks of {} positions, {} of them "
        "promised "
        "to its sequences: expected at most {} free for the others, got {} ({} of {} are held, {} "
        "promised); end a sequence or give the cache more blocks",
        all, size_.rows, all - need.unpromised, left, need.unpromised, used_, size_.blocks,
        promised()));
  }
  const auto known = static_cast<int64_t>(blocks_.size());
  return known + std::max<int64_t>(0, all - static_cast<int64_t>(freed_.size()));
}

int32_t BlockPool::take() {
  int32_t id = 0;
  if (freed_.empty()) {
    id = static_cast<int32_t>(blocks_.size());
    blocks_.emplace_back();
  } else {
    id = freed_.back();
    freed_.pop_back();
  }
  add_holders(block(id), 1, 0);
  most_used_ = std::max(most_used_, ++used_);
  return id;
}

void BlockPool::take_fresh(Sequence& sequence, int64_t column) {
  sequence.blocks[static_cast<std::size_t>(column)] = take();
  sequence.end = column + 1;
  sequence.promised = std::max<int64_t>(0, sequence.promised - 1);
  sequence.changed = true;
}

// A column that the sequence is about to write to.
void BlockPool::own(Sequence& sequence, int64_t column, std::vector<Copy>& copies) {
  int32_t& id = sequence.blocks[static_cast<std::size_t>(column)];
  if (sequence.open == column) close(sequence);
  if (block(id).holders == 1) return;
  const int32_t from = id;
  add_holders(block(from), -1, 0);
  id = take();
  copies.push_back({from, id});
  ++copied_;
  sequence.changed = true;
}

std::vector<BlockPool::Copy> BlockPool::extend(std::span<const int64_t> lengths,
                                               std::span<const int32_t> counts) {
  std::vector<Copy> copies;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    if (counts[i] == 0) continue;
    Sequence& s = sequences_[i];
    const int64_t end = columns_of(lengths[i] + counts[i]);
    for (int64_t c = lengths[i] / size_.rows; c < std::min(s.end, end); ++c) own(s, c, copies);
    for (int64_t c = s.end; c < end; ++c) take_fresh(s, c);
  }
  return copies;
}

// ------------------------------------------------------------------------------------------------
// and ends

void BlockPool::open(Sequence& sequence, int64_t column) {
  if (sequence.open == column) return;
  close(sequence);
  sequence.open = column;
  add_holders(block(sequence.blocks[static_cast<std::size_t>(column)]), 0, 1);
}

void BlockPool::close(Sequence& sequence) {
  if (sequence.open < 0) return;
  add_holders(block(sequence.blocks[static_cast<std::size_t>(sequence.open)]), 0, -1);
  sequence.open = -1;
}

void BlockPool::drop(Sequence& sequence, int64_t column) {
  if (sequence.open == column) close(sequence);
  int32_t& id = sequence.blocks[static_cast<std::size_t>(column)];
  add_holders(block(id), -1, 0);
  if (block(id).holders == 0) {
    freed_.push_back(id);
    --used_;
    if (lets_go()) sequence.promised = std::min(sequence.promised + 1, sequence.wanted);
  }
  id = 0;
  sequence.changed = true;
}

void BlockPool::let_go(int64_t sequence, int64_t length) {
  Sequence& s = at(sequence);
  const int64_t first = std::min(first_column(length), s.end);
  for (int64_t c = std::max(s.first, sink_columns()); c < first; ++c) drop(s, c);
  s.first = std::max(s.first, first);
}

void BlockPool::release(int64_t sequence) {
  Sequence& s = at(sequence);
  for (int64_t c = 0; c < s.end; ++c) {
    if (holds(s, c)) drop(s, c);
  }
  s.first = s.end = s.wanted = s.promised = 0;
}

bool BlockPool::share(int64_t from, int64_t to, int64_t positions, int64_t length) {
  Sequence &giver = at(from), &taker = at(to);
  if (giver.first > 0) return false;
  const int64_t columns = columns_of(positions);
  const bool is_part = positions % size_.rows != 0;
  const int64_t wanted = taker.end == 0 ? taker.wanted : 0;
  const int64_t promise = taker.end == 0 ? taker.promised : 0;
  const int64_t fulfilled = lets_go() ? 0 : std::min(promise, columns);
  // The last of those that go on in a block that is not full needs no copy, all others one.
  if (is_part && free_blocks() - promised() + fulfilled < 1) return false;
  release(to);
  for (int64_t c = 0; c < columns; ++c) {
    const int32_t id = giver.blocks[static_cast<std::size_t>(c)];
    taker.blocks[static_cast<std::size_t>(c)] = id;
    add_holders(block(id), 1, 0);
    ++shared_;
  }
  taker.end = columns;
  taker.wanted = wanted;
  taker.promised = promise - fulfilled;
  taker.changed = true;
  if (!is_part) return true;
  open(taker, columns - 1);
  if (columns_of(length) == columns && length % size_.rows != 0) open(giver, columns - 1);
  return true;
}

std::vector<int64_t> BlockPool::take_changed() {
  std::vector<int64_t> changed;
  for (std::size_t i = 0; i < sequences_.size(); ++i) {
    if (!sequences_[i].changed) continue;
    changed.push_back(static_cast<int64_t>(i));
    sequences_[i].changed = false;
  }
  return changed;
}

void BlockPool::check_counts() const {
  std::vector<Block> counted(blocks_.size());
  for (const Sequence& sequence : sequences_) {
    for (int64_t c = 0; c < sequence.end; ++c) {
      if (!holds(sequence, c)) continue;
      Block& held = counted[static_cast<std::size_t>(sequence.blocks[static_cast<std::size_t>(c)])];
      ++held.holders;
      held.writers += sequence.open == c;
    }
  }
  int64_t used = 0, copies = 0;
  for (std::size_t i = 0; i < counted.size(); ++i) {
    if (counted[i].holders != blocks_[i].holders || counted[i].writers != blocks_[i].writers) {
      throw std::logic_error(fmt::format("block {}: {} holders, counted {}; {} writers, counted {}",
                                         i, blocks_[i].holders, counted[i].holders,
                                         blocks_[i].writers, counted[i].writers));
    }
    used += counted[i].holders > 0;
    copies += copies_promised(counted[i]);
  }
  const bool adds_up =
      used == used_ && copies == promised_copies_ &&
      used + static_cast<int64_t>(freed_.size()) == static_cast<int64_t>(blocks_.size()) &&
      used_ <= size_.blocks && promised() <= free_blocks();
  if (adds_up) return;
  throw std::logic_error(fmt::format(
      "blocks: {} used of {}, counted {}; {} freed of {}; {} copies promised, counted {}; {} "
      "promised of {} free",
      used_, size_.blocks, used, freed_.size(), blocks_.size(), promised_copies_, copies,
      promised(), free_blocks()));
}

BlockUse BlockPool::use() const {
  return {.positions = size_.rows,
          .blocks = size_.blocks,
          .used = used_,
          .most_used = most_used_,
          .promised = promised(),
          .shared = shared_,
          .copied = copied_};
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
