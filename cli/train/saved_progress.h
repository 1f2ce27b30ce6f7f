// What progress.json of a checkpoint says.
#pragma once

#include <cstdint>
#include <string>

#include "cli/train/backend.h"

namespace assay::cli {

// Of checkpoint-`step`. Throws InputError for what no step of a run leaves.
TrainBackend::Progress read_saved_progress(const std::string& checkpoint, int64_t step);

}  // namespace assay::cli
