// In which pieces sequences are handed to a cache. A stale cache, a position that is counted from
// the piece, a mask of the piece alone: each shows in some of them and not in others.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "verify/subjects/subject.h"

namespace assay::verify {

struct Chunking {
  std::string what;  // "one by one"
  // Of each step the new positions of every row, [B]; of one row at least there are some.
  std::vector<std::vector<int32_t>> steps;
  int64_t largest = 0;  // piece that the cache takes; 0: any
};

// Up to which length chunkings() has every one of them by itself.
inline constexpr int64_t kShortSequence = 16;

// In pieces of every size up to the largest that the cache takes.
Chunking uneven_pieces(int64_t B, int64_t T, bool ragged, const Cache& cache = {});

// Every position of B rows of T. ragged: rows may go on by different counts. all: also those that
// take a step for every position where T is large.
std::vector<Chunking> chunkings(int64_t B, int64_t T, bool ragged, bool all);

}  // namespace assay::verify
