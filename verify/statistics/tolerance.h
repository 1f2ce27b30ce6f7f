// How far a value may lie from the golden one, and why.
#pragma once

#include <cstdint>
#include <string>

#include "golden/contract/precision.h"
#include "golden/contract/tensor.h"
#include "reference/numbers/array.h"
#include "verify/statistics/compare.h"

namespace assay::verify {

// x with P(|N(0,1)| > x) = p, for 0 < p < 1.
double two_sided_normal_quantile(double p);

// The free-running view's rule.
class Tolerance {
 public:
  virtual ~Tolerance() = default;
  // From the standard deviation of an element's error by error analysis to its bound.
  virtual BoundRule rule() const = 0;
  // How many deviations a bound spans: what error analysis has to hold up to.
  virtual double reach() const = 0;
  virtual std::string reason() const = 0;  // "7.1 sigma x 2, false alarms 1e-06 a report"
};

// z * allowance * sigma, sigma from error analysis with independent roundings; z is the normal
// quantile of the false-alarm rate divided by the number of elements compared (Bonferroni: holds
// whatever the dependence between elements).
class AnalyticTolerance : public Tolerance {
 public:
  AnalyticTolerance(const golden::PrecisionSchedule& schedule, int64_t elements,
                    double false_alarm_rate);
  BoundRule rule() const override;
  double reach() const override;  // z * allowance, and the golden value's own error
  std::string reason() const override;
  double z() const { return z_; }
  double allowance() const;

 private:
  golden::PrecisionSchedule schedule_;
  double false_alarm_rate_;
  double z_;
};

// The golden value has an error of its own: the reference computes in double, whose roundings obey
// the same analysis with 2^-53. Factors on a candidate's deviation and worst-case bound that
// include it: sqrt(2) and 2 for a candidate in fp64, 1 + 2^-29 at most for any other.
double deviation_with_golden(const golden::PrecisionSchedule& schedule);
double worst_with_golden(const golden::PrecisionSchedule& schedule);

// Bound on the error of values that were rounded to `storage` when they were handed over.
reference::Array rounding_error(golden::Precision storage, const reference::Array& values);

// The local view's rule: from the worst case of error analysis to a bound that has the golden
// value's own error and underflow in it.
BoundRule worst_rule(const golden::PrecisionSchedule& schedule);

}  // namespace assay::verify
