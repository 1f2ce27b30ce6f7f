// Who has which blocks of a cache: a pool of blocks of b positions, and for each sequence a table
// of its own, whose column c stands for the positions c b .. (c + 1) b - 1. Numbers alone; the
// memory belongs to the cache.
//
// Sequences that begin alike have the same blocks, each with a count of those that hold it. A block
// that others hold as well is never written to: who goes on in one gets a copy of it first.
// What is promised to a sequence nobody else gets: reserve() promises blocks for its positions, a
// sequence that shares a partly filled block is promised the copy of it.
// A window needs no block whose positions all queries to come have left behind (Kept).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cuda_impl/engine/interface/model.h"
#include "cuda_impl/simt/backend.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Which positions queries behind position `length` may read: those before `sinks`, and those from
// length - `reach` on. reach 0: all.
struct Kept {
  int64_t sinks = 0, reach = 0;
};

class BlockPool {
 public:
  struct Size {
    int64_t sequences = 0, capacity = 0;  // positions of a sequence
    int64_t rows = 0;                     // b
    int64_t blocks = 0;                   // at most
    int64_t chunk = 0;                    // positions of the largest
    Kept kept = {};
  };
  struct Copy {
    int64_t from = 0, to = 0;
  };

  explicit BlockPool(const Size& size);

  // Before counts[s] positions go behind the lengths[s] there are: how many blocks there have to
  // be memory for. Throws InputError where too few are free; nothing has changed either way.
  int64_t check(std::span<const int64_t> lengths, std::span<const int32_t> counts) const;
  // Takes the blocks; what has to be copied before anything is written. After check() of the same.
  std::vector<Copy> extend(std::span<const int64_t> lengths, std::span<const int32_t> counts);

  // Lets go the blocks that nobody reads behind `length` positions.
  void let_go(int64_t sequence, int64_t length);

  // Promises blocks for `positions` of a sequence, those that it has among them; in place of what
  // was promised before. false, and nothing has changed, where they are not there.
  bool reserve(int64_t sequence, int64_t positions);
  // Makes `to` the first `positions` of `from`, which has `length`; a promise to `to` stays if it
  // was empty. false, and nothing has changed, where `from` has let go blocks or a copy could not
  // be promised.
  bool share(int64_t from, int64_t to, int64_t positions, int64_t length);
  // Gives back everything that the sequence holds or was promised.
  void release(int64_t sequence);

  std::span<const int32_t> row(int64_t sequence) const;  // [columns], 0 where there is no block
  int64_t columns() const { return columns_; }
  int64_t most_at_once() const;  // columns that a sequence holds
  const Size& size() const { return size_; }
  int64_t free_blocks() const { return size_.blocks - used_; }
  BlockUse use() const;
  // Sequences whose table has changed since the last call.
  std::vector<int64_t> take_changed();
  // Throws std::logic_error where the counts contradict each other.
  void check_counts() const;

 private:
  struct Sequence {
    std::vector<int32_t> blocks;       // [columns]
    int64_t first = 0, end = 0;        // columns first .. end-1 are held, beside those of the sinks
    int64_t wanted = 0, promised = 0;  // blocks: by reserve(), and those that it may still take
    int64_t open = -1;                 // a column that it shares and will write to
    bool changed = true;
  };
  struct Block {
    int32_t holders = 0, writers = 0;  // writers: those that have it as their open column
  };
  // What an extension takes.
  struct Need {
    int64_t fresh = 0, copies = 0, unpromised = 0;
  };

  Need need_of(std::span<const int64_t> lengths, std::span<const int32_t> counts) const;
  int64_t columns_of(int64_t positions) const {
    return positions / size_.rows + (positions % size_.rows != 0);
  }
  int64_t sink_columns() const { return columns_of(size_.kept.sinks); }
  bool lets_go() const { return size_.kept.reach > 0; }
  int64_t first_column(int64_t length) const;
  int64_t copies_promised(const Block& of) const;
  int64_t promised() const;
  void add_holders(Block& of, int32_t holders, int32_t writers);
  Sequence& at(int64_t sequence) { return sequences_[static_cast<std::size_t>(sequence)]; }
  const Sequence& at(int64_t sequence) const {
    return sequences_[static_cast<std::size_t>(sequence)];
  }
  Block& block(int32_t id) { return blocks_[static_cast<std::size_t>(id)]; }
  const Block& block(int32_t id) const { return blocks_[static_cast<std::size_t>(id)]; }
  bool holds(const Sequence& sequence, int64_t column) const;
  int32_t take();
  void take_fresh(Sequence& sequence, int64_t column);
  void drop(Sequence& sequence, int64_t column);
  void own(Sequence& sequence, int64_t column, std::vector<Copy>& copies);
  void close(Sequence& sequence);
  void open(Sequence& sequence, int64_t column);

  Size size_;
  int64_t columns_;
  std::vector<Sequence> sequences_;
  std::vector<Block> blocks_;   // those that were ever taken
  std::vector<int32_t> freed_;  // of them, the last to be freed behind
  int64_t used_ = 0, most_used_ = 0, copied_ = 0, shared_ = 0, promised_copies_ = 0;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
