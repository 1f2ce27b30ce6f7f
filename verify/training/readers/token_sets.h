// Arrays of one set, put together: which loss is of which token.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "verify/training/evidence.h"
#include "verify/training/readers/arrays.h"

namespace assay::verify::training {

// A set, and the whole sequences that its losses are of: losses [N,T] of tokens [N,T] or of tokens
// [N,T+1] without each first one.
struct AlignedSet {
  TokenSet set;
  int64_t sequence_positions = 0;  // of `sequences`; 0 if there are none
  std::vector<int32_t> sequences;  // [N,sequence_positions]
};

// `scale` turns the file's unit into nats. Throws InputError for shapes that do not fit.
// Left out are labels of -100 (or below 0), what a mask says, a first column of losses that is 0
// throughout, and padding: losses of exactly 0 at the ends of rows, of different lengths or of one
// token.
AlignedSet align(const SetArrays& arrays, Set which, double scale);

// The probabilities of the sequences' tokens, [N,sequence_positions], as the set's oracle.
void give_oracle(AlignedSet& aligned, std::span<const double> log_probs,
                 std::span<const Expected> expected);

// Leaves out the rows; `why` goes to the notes.
void leave_out(TokenSet& set, std::span<const int64_t> rows, const std::string& why);

// Leaves out the first `count` tokens of each sequence.
void leave_out_beginnings(AlignedSet& aligned, int64_t count, const std::string& why);

}  // namespace assay::verify::training
