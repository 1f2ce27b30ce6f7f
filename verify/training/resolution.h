// How exactly a list of numbers says what it says: its rounding, as its values show it.
#pragma once

#include <span>
#include <string>

namespace assay::verify::training {

// A value may be off by absolute + relative x |value|.
struct Resolution {
  double absolute = 0, relative = 0;
  std::string what = "float64";

  double slack(double value) const { return absolute + relative * (value < 0 ? -value : value); }
};

// The coarsest of: 1 to 4 decimals, bfloat16, float16, float32, float64. A rounding is half a unit
// of decimals; of a storage type it is a whole unit in the last place, and what a log-softmax of
// that type loses.
Resolution resolution_of(std::span<const double> values);

// Half a unit of the last decimal that any of the values needs, of up to 5 decimals; else 0.
double decimal_half_step(std::span<const double> values);

}  // namespace assay::verify::training
