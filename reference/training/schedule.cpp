#include "reference/training/schedule.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "golden/contract/error.h"

namespace assay::reference {

void validate(const Schedule& schedule, const char* where) {
  const auto expect = [&](const char* name, auto value, bool fits, const std::string& expected) {
    if (fits) return;
    throw InputError(fmt::format("{}: {}: expected {}, got {}", where, name, expected, value));
  };
  const double peak = schedule.peak, floor = schedule.floor;
  expect("peak", peak, peak >= 0 && std::isfinite(peak), "0 or more");
  expect("floor", floor, floor >= 0 && floor <= peak, fmt::format("0 .. the peak, {}", peak));
  expect("steps", schedule.steps, schedule.steps >= 1, "1 or more");
  expect("warmup", schedule.warmup, schedule.warmup >= 0 && schedule.warmup <= schedule.steps,
         fmt::format("0 .. the steps, {}", schedule.steps));
}

double learning_rate(const Schedule& schedule, int64_t step) {
  const auto& [peak, floor, warmup, steps] = schedule;
  if (step < warmup) {
    return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);  // (1)
  }
  if (step >= steps) return floor;
  if (step == warmup) return peak;
  const double part = static_cast<double>(step - warmup) / static_cast<double>(steps - 1 - warmup);
  return floor + (peak - floor) * (1 + std::cos(std::numbers::pi * part)) / 2;  // (2)
}

}  // namespace assay::reference
