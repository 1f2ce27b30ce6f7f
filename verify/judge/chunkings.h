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

// Most of the positions at once, or in pieces of the largest size that the cache takes, and the
// last ones one by one: as prompts are read. More than the `seen` positions that a window and its
// sinks show, where there are more; 0: no window. T at least 2.
Chunking behind_a_prompt(int64_t B, int64_t T, int64_t seen, const Cache& cache = {});

// In pieces of every size up to the largest that the cache takes.
Chunking uneven_pieces(int64_t B, int64_t T, bool ragged, const Cache& cache = {});

// Every position of B rows of T. ragged: rows may go on by different counts. all: also those that
// take a step for every position where T is large.
std::vector<Chunking> chunkings(int64_t B, int64_t T, int64_t seen, bool ragged, bool all);

}  // namespace assay::verify
