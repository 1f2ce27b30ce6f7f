// The table: which verdict the findings come to. Internal.
#pragma once

#include "verify/training/finding.h"

namespace assay::verify::training {

// Fills in verdict, reason, flags, and what else there is to say.
void decide(const Evidence& evidence, Judgement& judgement);

}  // namespace assay::verify::training
