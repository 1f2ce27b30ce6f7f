#include "verify/statistics/tolerance.h"

#include <fmt/format.h>

#include <cmath>

#include "golden/contract/error.h"

namespace assay::verify {
namespace {

using golden::Precision;

// The analysis counts roundings as independent. They are not quite: a value that is rounded once
// and read along two paths brings the same error into both, and where those meet again two equal
// errors give 2 where two independent ones give sqrt(2). The factor 2 covers two such merges in a
// row, and terms of second order.
//
// Measured with float32 sums in ascending order: the largest |error| / sigma of a run, in brackets
// what so many independent normal errors reach. Presets tiny and small, methods plain, 1 and 5.1,
// T = 16 to 64: 2.5 in fp32, 3.8 in bf16 (4.3 to 5.1). Small with 8 layers: 3.4 and 4.9 (5.1). No
// dependence shows there. Method 1 with 16 layers: 6.7 in fp32, 20 in bf16 (5.3), at single
// elements of mlp_act, whose two factors inherit one error; half of the 20 is the product of the
// two factors' errors, which is of second order.
constexpr double kDependenceAllowance = 2.0;

double golden_share(const golden::PrecisionSchedule& schedule) {
  return golden::unit_roundoff(Precision::fp64) / golden::unit_roundoff(schedule.accumulate);
}

}  // namespace

// Bisection on erfc: P(|N| > x) = erfc(x / sqrt(2)), which is decreasing.
double two_sided_normal_quantile(double p) {
  ASSAY_CHECK(p > 0 && p < 1, fmt::format("p = {}", p));
  double low = 0, high = 40;
  for (int step = 0; step < 80; ++step) {
    const double middle = (low + high) / 2;
    (std::erfc(middle / std::sqrt(2.0)) > p ? low : high) = middle;
  }
  return high;
}

AnalyticTolerance::AnalyticTolerance(const golden::PrecisionSchedule& schedule, int64_t elements,
                                     double false_alarm_rate)
    : schedule_(schedule),
      false_alarm_rate_(false_alarm_rate),
      z_(two_sided_normal_quantile(false_alarm_rate /
                                   static_cast<double>(elements < 1 ? 1 : elements))) {}

double AnalyticTolerance::allowance() const { return kDependenceAllowance; }

double AnalyticTolerance::reach() const {
  return z_ * kDependenceAllowance * deviation_with_golden(schedule_);
}

BoundRule AnalyticTolerance::rule() const {
  return {.factor = reach(), .least = golden::smallest_normal(schedule_.accumulate)};
}

std::string AnalyticTolerance::reason() const {
  return fmt::format("{:.2f} sigma x {:g}, {:g} false alarms a report", z_, kDependenceAllowance,
                     false_alarm_rate_);
}

double deviation_with_golden(const golden::PrecisionSchedule& schedule) {
  const double share = golden_share(schedule);
  return std::sqrt(1 + share * share);
}

double worst_with_golden(const golden::PrecisionSchedule& schedule) {
  return 1 + golden_share(schedule);
}

reference::Array rounding_error(golden::Precision storage, const reference::Array& values) {
  const double unit = golden::unit_roundoff(storage), least = golden::smallest(storage) / 2;
  reference::Array error = reference::Array::uninitialized(values.shape());
  for (int64_t i = 0; i < values.size(); ++i) {
    const double x = values.data()[i];
    error.data()[i] = std::isfinite(x) ? unit * std::fabs(x) + least : 0;
  }
  return error;
}

BoundRule worst_rule(const golden::PrecisionSchedule& schedule) {
  return {.factor = worst_with_golden(schedule),
          .least = golden::smallest_normal(schedule.accumulate)};
}

}  // namespace assay::verify
