// The slopes as a check of the report.
#pragma once

#include <string>
#include <vector>

#include "verify/numerics/slope.h"
#include "verify/verdict.h"

namespace assay::verify {

// nullptr: none is.
const Slope* first_outside(const std::vector<Slope>& slopes);

// inputs: what the checkpoints were computed from.
std::string slope_text(const Slope& slope, const std::string& inputs);

// slopes: at least one.
Check slope_check(const std::vector<Slope>& slopes, const std::string& inputs, double seconds);

}  // namespace assay::verify
