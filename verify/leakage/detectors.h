// Every detector that runs a subject: whatever is changed in the future of a position, in another
// row of the batch or in the labels must leave that position as it is, bit for bit. Shape, batch
// composition and kernels stay the same from run to run, so bit equality is due and no tolerance is
// involved. What holds for all inputs is the structural proof's to say (structural.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "verify/leakage/detector.h"
#include "verify/leakage/experiment.h"
#include "verify/leakage/influence.h"
#include "verify/subjects/subject.h"
#include "verify/verdict.h"

namespace assay::verify {

// In the order in which they run.
std::span<const Detector> detectors();

struct LeakResult {
  std::vector<Check> checks;  // one a detector, in the list's order
  bool leaks = false;
  std::string tensor;  // the first one in order of computation whose past changed
  int64_t t = -1;      // its first position that sees ..
  int64_t s = -1;      // .. this later one; -1 when only several changed tokens together show it
  InfluenceMatrix influence;
  int64_t runs = 0;  // of the subject; 0: it cannot run
};

// A subject that cannot run gives one skipped check. One that answers the same batch differently
// gives an inconclusive one: bitwise detectors cannot speak of it.
LeakResult detect_leaks(Subject& subject, const golden::ModelConfig& config, const Batch& batch,
                        const LeakOptions& options = {});

}  // namespace assay::verify
