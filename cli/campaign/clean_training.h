// Random correct training loops: rules of AdamW, steps and micro-batches over a clean case's model.
#pragma once

#include <string>
#include <vector>

#include "cli/campaign/clean_case.h"
#include "verify/verdict.h"

namespace assay::cli {

struct TrainedCase {
  std::string text;  // one line
  std::vector<verify::Check> checks;
};

// Trains the case's subject, or in some cases the reference, in lockstep from the golden file.
TrainedCase train_clean_case(const CleanCase& c, const std::string& golden_path);

}  // namespace assay::cli
