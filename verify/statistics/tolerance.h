// How far a value may lie from the golden one, and why.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "golden/contract/precision.h"
#include "golden/contract/tensor.h"
#include "reference/numbers/array.h"

namespace assay::verify {

// x with P(|N(0,1)| > x) = p, for 0 < p < 1.
double two_sided_normal_quantile(double p);

// The free-running view's rule.
class Tolerance {
 public:
  virtual ~Tolerance() = default;
  // in: the standard deviation of each element's error by error analysis; out: the bound.
  // A deviation of 0 says that the element is exact: its bound is 0.
  virtual void bounds(const std::string& name, std::span<double> deviation) const = 0;
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
  void bounds(const std::string& name, std::span<double> deviation) const override;
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

// The local view's rule: worst-case bounds of error analysis, the golden value's own error and
// underflow added. Exact elements stay exact.
void finish_worst_bounds(const golden::PrecisionSchedule& schedule, std::span<double> bound);

}  // namespace assay::verify
