// Where the rows of a chunk stand, for operations that are evaluated on part of a sequence: queries
// are the chunk's rows, keys are rows of earlier chunks followed by the chunk's own, so that the
// last rows of `keys` are the queries.
#pragma once

#include <cstdint>
#include <vector>

#include "golden/contract/tensor.h"

namespace assay::reference {

// At a row that fills up a chunk, or a key that is not there.
inline constexpr int64_t kNoPosition = -1;

struct Places {
  int64_t batch = 0, queries = 0, keys = 0;  // B, T, S
  std::vector<int64_t> query, key;           // [B,T] [B,S]: absolute positions, or kNoPosition

  int64_t query_at(int64_t b, int64_t t) const {
    return query[static_cast<std::size_t>(b * queries + t)];
  }
  int64_t key_at(int64_t b, int64_t s) const { return key[static_cast<std::size_t>(b * keys + s)]; }
};

// Of scores [B,H,T,S] over whole sequences: every row and key at its index.
inline Places whole_of(const golden::Shape& scores) {
  Places at{.batch = scores[0], .queries = scores[2], .keys = scores[3], .query = {}, .key = {}};
  for (int64_t b = 0; b < at.batch; ++b) {
    for (int64_t t = 0; t < at.queries; ++t) at.query.push_back(t);
    for (int64_t s = 0; s < at.keys; ++s) at.key.push_back(s);
  }
  return at;
}

}  // namespace assay::reference
