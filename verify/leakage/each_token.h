// One token changed at a time: who sees whom.
#pragma once

#include <cstdint>
#include <vector>

#include "verify/leakage/experiment.h"

namespace assay::verify {

// [B,T,T], 1 where row b of a tensor changes at t with token s.
using Seen = std::vector<uint8_t>;

// The batch with another token at s alone, in every row; `draw` counts the tokens that are tried.
Batch with_token(const Experiment& experiment, int64_t s, int draw);

// Changes every token in turn, fills the influence matrix, notes every pair (t <- s) with s > t,
// and returns what the tensor of that name sees.
Seen change_each_token(Experiment& experiment, const std::string& tensor);

}  // namespace assay::verify
