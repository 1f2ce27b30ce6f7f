// Takes tokens as a file has them and keeps the [B,T] that are wanted, or hands them on in blocks.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "datasets/tokens.h"
#include "golden/contract/error.h"

namespace assay::datasets {

class Collector {
 public:
  // Hands up to `most` tokens on, `block` at a time; rows are parts of one stream.
  Collector(std::string path, int64_t vocab_size, int64_t most, int64_t block, TakeTokens take)
      : Collector(std::move(path), 1, most, vocab_size) {
    block_ = block;
    take_ = std::move(take);
  }
  Collector(std::string path, int64_t batch, int64_t positions, int64_t vocab_size)
      : path_(std::move(path)), batch_(batch), positions_(positions), vocab_size_(vocab_size) {}

  // Rows are begun and ended by the file, longer ones are cut; a stream is begun by nothing.
  void begin_row() {
    is_rows_ = true;
    in_row_ = 0;
  }
  void end_row() {
    if (in_row_ < positions_ && !is_stream()) {
      throw InputError(fmt::format("{}: row {}: expected at least {} tokens, got {}", path_, rows_,
                                   positions_, in_row_));
    }
    ++rows_;
  }

  void add(int64_t token) {
    if (is_full() || (is_rows_ && in_row_ >= positions_ && !is_stream())) return;
    if (token < 0 || token >= vocab_size_) {
      throw InputError(fmt::format("{}: {}: expected a token in 0 .. {}, got {}", path_, place(),
                                   vocab_size_ - 1, token));
    }
    values_.push_back(static_cast<int32_t>(token));
    ++count_;
    ++in_row_;
    if (is_stream() && static_cast<int64_t>(values_.size()) == block_) hand_on();
  }

  // The block that is not full yet.
  void hand_on() {
    const std::vector<int32_t> block = std::exchange(values_, {});
    if (!block.empty()) take_(block);
  }

  bool is_full() const { return count_ == wanted(); }
  bool is_stream() const { return block_ > 0; }
  int64_t count() const { return count_; }
  int64_t batch() const { return batch_; }
  int64_t wanted() const { return batch_ * positions_; }

  // "row 1, position 5" of the file, "token 37" of a stream.
  std::string place() const {
    return is_rows_ ? fmt::format("row {}, position {}", rows_, in_row_)
                    : fmt::format("token {}", count_);
  }

  // Throws InputError if there are too few.
  std::vector<int32_t> take() {
    if (is_full()) return std::move(values_);
    if (is_rows_) {
      throw InputError(fmt::format("{}: expected {} rows, got {}", path_, batch_, rows_));
    }
    throw InputError(fmt::format("{}: too short: expected at least {} tokens for [{},{}], got {}",
                                 path_, wanted(), batch_, positions_, values_.size()));
  }

 private:
  std::string path_;
  int64_t batch_, positions_, vocab_size_;
  std::vector<int32_t> values_;
  bool is_rows_ = false;
  int64_t rows_ = 0, in_row_ = 0, count_ = 0;
  int64_t block_ = 0;  // of a stream
  TakeTokens take_;
};

}  // namespace assay::datasets
