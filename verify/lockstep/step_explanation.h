// Known defects of training, tried on the first tensor that diverges.
#pragma once

#include <string>

#include "verify/lockstep/lockstep_run.h"

namespace assay::verify {

// "equals what is due without correction of the second moment's bias"; "" if none fits.
std::string explanation_of(const LockstepRun& run, const StepRow& row, StepView view);

}  // namespace assay::verify
