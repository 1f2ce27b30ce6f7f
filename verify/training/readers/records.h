// A log as rows of names and numbers, whatever it was written in, and the curve that they are.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "verify/training/evidence.h"

namespace assay::verify::training {

struct Record {
  std::vector<std::pair<std::string, double>> values;  // as the file names them
};

// Of several names for one quantity the one with most values counts. Rows of Hugging Face's last
// average (train_runtime) are no steps. Where the steps go back, a run was resumed and what it had
// done after that step is dropped; where they begin again with each epoch, rows are counted. A NaN
// beside a number is a missing value if no row has both a training and a val loss.
// Throws InputError if there is no loss at all.
Curve curve_of(const std::vector<Record>& records, const std::string& path,
               const std::string& format);

}  // namespace assay::verify::training
