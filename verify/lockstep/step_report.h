// From the runs of lockstep training to checks, rows and the first divergence.
#pragma once

#include "verify/lockstep/lockstep.h"
#include "verify/lockstep/lockstep_run.h"

namespace assay::verify {

LockstepResult report_of(const LockstepRun& run, const LockstepOptions& options);

}  // namespace assay::verify
