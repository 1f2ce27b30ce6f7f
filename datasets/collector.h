// Takes tokens as a file has them and keeps the [B,T] that are wanted.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <vector>

#include "golden/contract/error.h"

namespace assay::datasets {

class Collector {
 public:
  Collector(std::string path, int64_t batch, int64_t positions, int64_t vocab_size)
      : path_(std::move(path)), batch_(batch), positions_(positions), vocab_size_(vocab_size) {}

  // Rows are begun and ended by the file, longer ones are cut; a stream is begun by nothing.
  void begin_row() {
    is_rows_ = true;
    in_row_ = 0;
  }
  void end_row() {
    if (in_row_ < positions_) {
      throw InputError(fmt::format("{}: row {}: expected at least {} tokens, got {}", path_, rows_,
                                   positions_, in_row_));
    }
    ++rows_;
  }

  void add(int64_t token) {
    if (is_full() || (is_rows_ && in_row_ >= positions_)) return;
    if (token < 0 || token >= vocab_size_) {
      throw InputError(fmt::format("{}: {}: expected a token in 0 .. {}, got {}", path_, place(),
                                   vocab_size_ - 1, token));
    }
    values_.push_back(static_cast<int32_t>(token));
    ++in_row_;
  }

  bool is_full() const { return static_cast<int64_t>(values_.size()) == wanted(); }
  int64_t batch() const { return batch_; }
  int64_t wanted() const { return batch_ * positions_; }

  // "row 1, position 5" of the file, "token 37" of a stream.
  std::string place() const {
    return is_rows_ ? fmt::format("row {}, position {}", rows_, in_row_)
                    : fmt::format("token {}", values_.size());
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
  int64_t rows_ = 0, in_row_ = 0;
};

}  // namespace assay::datasets
