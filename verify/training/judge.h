// The judge of a training run: every statistic, then the table of docs/training.md; the first row
// that matches is the verdict, later matches become flags.
#pragma once

#include "verify/training/finding.h"

namespace assay::verify::training {

Judgement judge(const Evidence& evidence);

}  // namespace assay::verify::training
