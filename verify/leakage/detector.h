// What a leak detector is. Each stands in a file of its name; the list of all is in detectors.cpp.
#pragma once

#include "verify/leakage/experiment.h"
#include "verify/verdict.h"

namespace assay::verify {

struct Detector {
  const char* name;  // of its check
  Check (*detect)(Experiment& experiment);
  bool gates;  // where it is inconclusive, those after it have nothing to say and do not run
};

}  // namespace assay::verify
