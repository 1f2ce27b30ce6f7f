#include "reference/numbers/uncertain.h"

namespace assay::reference {
namespace {

// A function's own error counts as two roundings.
constexpr double kFunction = 4;

double square(double x) { return x * x; }

// The value and what it moves by, in deviations.
Uncertain moved(double value, double moves) {
  return {value, square(moves) + kFunction * uncertain_rule().step * square(value)};
}

}  // namespace

UncertainRule& uncertain_rule() {
  static thread_local UncertainRule rule;
  return rule;
}

Uncertain exp(Uncertain a) {
  const double y = std::exp(a.value), reach = uncertain_rule().reach;
  return moved(y, a.variance == 0 ? 0 : y * std::expm1(reach * a.deviation()) / reach);
}

Uncertain log(Uncertain a) {
  const double least = a.value - uncertain_rule().reach * a.deviation();
  return moved(std::log(a.value), a.variance == 0 ? 0
                                  : least > 0     ? a.deviation() / least
                                                  : INFINITY);
}

Uncertain sqrt(Uncertain a) {
  const double y = std::sqrt(a.value);
  const double least = std::max(0.0, a.value - uncertain_rule().reach * a.deviation());
  return moved(y, a.variance == 0 ? 0 : a.deviation() / (y + std::sqrt(least)));
}

// The slope is largest where |a| is least.
Uncertain tanh(Uncertain a) {
  const double e = a.deviation();
  const double nearest = std::max(0.0, std::fabs(a.value) - uncertain_rule().reach * e);
  return moved(std::tanh(a.value), e * (1 - square(std::tanh(nearest))));
}

Uncertain erf(Uncertain a) {
  const double e = a.deviation();
  const double nearest = std::max(0.0, std::fabs(a.value) - uncertain_rule().reach * e);
  return moved(std::erf(a.value), e * M_2_SQRTPI * std::exp(-nearest * nearest));
}

// The slope s (1 - s) is largest where |a| is least.
Uncertain sigmoid(Uncertain a) {
  const double e = a.deviation(), value = 1 / (1 + std::exp(-a.value));
  const double nearest = std::max(0.0, std::fabs(a.value) - uncertain_rule().reach * e);
  const double s = 1 / (1 + std::exp(-nearest));
  return moved(value, e * s * (1 - s));
}

}  // namespace assay::reference
