// Detectors that run a subject: whatever is changed in the future of a position, in another row of
// the batch or in the labels must leave that position as it is, bit for bit. Shape, batch
// composition and kernels stay the same from run to run, so bit equality is due and no tolerance is
// involved.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "verify/leakage/influence.h"
#include "verify/subjects/subject.h"
#include "verify/verdict.h"

namespace assay::verify {

struct PrefixOptions {
  uint64_t seed = 1;  // of the replacement tokens
  int suffixes = 2;   // random suffixes per cut
};

struct PrefixResult {
  // repeat: two runs on one batch agree. prefix: for every cut c, new tokens at c and after leave
  // every tensor's positions before c alone. influence: one token changed at a time; every position
  // must see itself and the last one the first, or the first that its windows reach. batch: other rows do not matter. labels: only the
  // loss sees them.
  std::vector<Check> checks;
  bool leaks = false;
  std::string tensor;  // the first one in order of computation whose past changed
  int64_t t = -1;      // its first position that sees ..
  int64_t s = -1;      // .. this later one; -1 when only several changed tokens together show it
  InfluenceMatrix influence;
  int64_t runs = 0;
};

// A subject that cannot run gives one skipped check. One that answers the same batch differently
// gives an inconclusive one: bitwise detectors cannot speak of it.
PrefixResult detect_prefix_leaks(Subject& subject, const golden::ModelConfig& config,
                                 const Batch& batch, const PrefixOptions& options = {});

}  // namespace assay::verify
