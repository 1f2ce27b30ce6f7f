// What the folder of a run of `assay train` says of itself.
#pragma once

#include "cli/training/overfit_inputs.h"

namespace assay::cli {

// Where one folder of such a run is among the inputs, what its config.json says stands for options
// that were not given: the source as the oracle, parameters and their bits, sizes, and whether
// every step saw new tokens. Throws InputError for a config.json that begins as one and is damaged.
OverfitOptions with_own_run(OverfitOptions options);

}  // namespace assay::cli
