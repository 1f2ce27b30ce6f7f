// A training run from its options to its folder.
#pragma once

#include "cli/train/options.h"

namespace assay::cli {

// Returns true when the run is over, false where it was stopped and saved. Throws InputError for
// what cannot be trained; an existing run keeps what it has.
bool train(const TrainRunOptions& options, const GivenOptions& given);

}  // namespace assay::cli
