// Errors that do not add up as independent ones: a token that stands in many places brings the same
// rounding error into each, and an average over them does not average it out. Error analysis counts
// roundings as independent; here each checkpoint's own error is drawn, equal values erring alike,
// and carried on by forward differentiation. Where that is larger, the free-running view allows it.
#pragma once

#include <string>

#include "reference/numbers/array.h"
#include "verify/numerics/case.h"
#include "verify/numerics/golden_values.h"
#include "verify/numerics/row_noise.h"

namespace assay::verify {

class SampledNoise {
 public:
  // Of every declared checkpoint the golden value has to be at hand (GoldenValues::read).
  SampledNoise(const Case& file, const golden::PrecisionSchedule& schedule,
               const GoldenValues& golden);

  // The deviations of a checkpoint, each row of them (its last axis) scaled up until its root mean
  // square is 1.5 times that of the sampled errors. Never down.
  reference::Array widened(const std::string& name, const reference::Array& deviation) {
    return noise_.widened(name, deviation);
  }

  int runs() const;
  double largest_factor() const { return noise_.largest_factor(); }
  const std::string& largest_at() const { return noise_.largest_at(); }

 private:
  RowNoise noise_;
};

}  // namespace assay::verify
