// Token sequences from files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace assay::datasets {

// The first batch * positions tokens of a file, as [B,T] row-major.
//   *.json     an array of B arrays of T whole numbers (longer rows are cut)
//   otherwise  text: each byte is a token, rows follow one another; needs vocab_size >= 256
// Throws InputError for a file that cannot be read, is too short, or holds a token outside
// [0, vocab_size).
std::vector<int32_t> read_tokens(const std::string& path, int64_t batch, int64_t positions,
                                 int64_t vocab_size);

}  // namespace assay::datasets
