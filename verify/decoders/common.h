// What two runs on batches of different shapes have in common: position by position.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "verify/leakage/recording.h"

namespace assay::verify {

// Where the rows and positions of one run stand in another.
struct Within {
  std::vector<int64_t> rows;   // row b is rows[b] there; -1: it is not there
  int64_t shift = 0;           // position t is t + shift there
  bool whole_numbers = false;  // they are compared, too
  bool last_alone = false;     // an axis with one of several positions has the last of them
};

// The largest difference of a tensor at one position.
struct Apart {
  std::size_t index = 0;          // of the tensor in the run that all is compared with
  int64_t row = 0, position = 0;  // in that run
  double difference = 0;
  double size = 0;    // over the largest value at that position, or the tensor's rms if it is more
  bool bits = false;  // whether any bit differs
};

// Compares every tensor that both runs hand over with what `base` has at the same positions: one
// entry for each position of each tensor. Passes over tensors of whole numbers, unless they are
// asked for, those whose index is not their position for sure, and those whose other axes are not
// as long.
std::vector<Apart> positions_apart(const Recording& base, const Recording& other,
                                   const Within& within);

// Rows 0, 1, .. of the one are those of the other.
Within same_rows(int64_t rows);

// The index of the tensor of that name; tensors() if there is none.
std::size_t index_of(const Recording& recording, const std::string& name);

}  // namespace assay::verify
