// Random data for tests: every number is a pure function of (seed, name, index).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "reference/numbers/array.h"

namespace assay::reference::testing {

// Uniform in (-1, 1).
std::vector<double> uniform(uint64_t seed, const std::string& name, int64_t count);
Array random_array(const Shape& shape, uint64_t seed, const std::string& name);

bool same_bits(std::span<const double> x, std::span<const double> y);

// max |x - y| / max |y| over elements that are finite in y. Infinite when the sizes differ, when an
// element that is not finite in y is another one in x, or when x has a NaN.
double relative_error(std::span<const double> x, std::span<const double> y);

}  // namespace assay::reference::testing
