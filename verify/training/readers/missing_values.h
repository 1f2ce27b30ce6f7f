// Losses that a file names without a number: a NaN that pandas, JavaScript or R wrote as nothing,
// or a loss that was not due in that row.
#pragma once

#include <string>
#include <vector>

#include "verify/training/readers/records.h"

namespace assay::verify::training {

struct MissingValues {
  std::vector<bool> are_nan;  // by row
  std::string note;           // "" where there is nothing to say
};

// Rows at the end without `name` are NaN where no other loss is in them, they hold nothing that the
// last row with a number does not and are not at its step, and they are more than twice as many as
// any gap before. Others are counted in the note, unless their row has another loss: an evaluation
// every k steps.
MissingValues missing_values(const std::vector<const Record*>& rows, const std::string& name);

}  // namespace assay::verify::training
