// Sampled errors of which equal values have equal ones, and deviations widened to what came of
// them.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "reference/numbers/array.h"

namespace assay::verify {

// Errors of these deviations, uniform, and the same for equal values: a stream draws them again.
reference::Array errors_alike(const reference::Array& values, std::span<const float> deviation,
                              uint64_t stream);

// The errors of some runs, by tensor and row (its last axis).
class RowNoise {
 public:
  static constexpr int kRuns = 8;

  // Of one of kRuns runs.
  void add(const std::string& name, const reference::Array& error);

  // Each row of the deviations scaled up until its root mean square is 1.5 times that of the
  // sampled errors. Never down. A tensor that no run gave stays as it is.
  reference::Array widened(const std::string& name, const reference::Array& deviation);

  double largest_factor() const { return largest_factor_; }
  const std::string& largest_at() const { return largest_at_; }

 private:
  std::map<std::string, std::vector<double>> error_sq_;  // of each row, mean over runs
  double largest_factor_ = 1;
  std::string largest_at_;
};

}  // namespace assay::verify
