// What a leak detector is. Each stands in a file of its name; the list of all is in detectors.cpp.
#pragma once

#include "verify/leakage/experiment.h"
#include "verify/verdict.h"

namespace assay::verify {

// What a detector asks for beyond a subject that runs. Where it is missing, the check is skipped.
enum class Need {
  nothing_more,
  neighbours,  // two rows in the batch
};

struct Detector {
  const char* name;  // of its check
  Need need;
  Check (*detect)(Experiment& experiment);
  bool gates;  // where it is inconclusive, those after it have nothing to say and do not run
};

}  // namespace assay::verify
