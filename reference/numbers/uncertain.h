// A double and the variance of its error: arithmetic on it is running error analysis (Higham,
// "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 3.3) of an implementation that
// rounds every operation, errors counted as independent.
//
// A rounding in a type of unit roundoff u is uniform in [-u, u] times the result: variance u^2/3.
// What bends is enclosed as in error.h: within `reach` deviations, and handed on by its reach-th
// part.
#pragma once

#include <algorithm>
#include <cmath>

namespace assay::reference {

struct ErrorModel;  // graph/op.h

// What Uncertain numbers are rounded by on this thread.
struct UncertainRule {
  const ErrorModel* model = nullptr;
  double sum = 0;   // variance of the rounding of one addition of a running sum, relative
  double step = 0;  // of another elementary operation: eager, one is rounded to storage
  double reach = 1;
};
UncertainRule& uncertain_rule();

class UncertainScope {
 public:
  explicit UncertainScope(const UncertainRule& rule) : before_(uncertain_rule()) {
    uncertain_rule() = rule;
  }
  ~UncertainScope() { uncertain_rule() = before_; }
  UncertainScope(const UncertainScope&) = delete;
  UncertainScope& operator=(const UncertainScope&) = delete;

 private:
  UncertainRule before_;
};

struct Uncertain {
  double value = 0, variance = 0;

  Uncertain() = default;
  Uncertain(double constant) : value(constant) {}  // implicit: constants mix with it in formulas
  Uncertain(double v, double error_sq) : value(v), variance(error_sq) {}

  bool is_zero() const { return value == 0 && variance == 0; }
  double deviation() const { return std::sqrt(variance); }

  Uncertain& operator+=(Uncertain b) { return add(b, uncertain_rule().sum); }
  Uncertain& operator-=(Uncertain b) { return add({-b.value, b.variance}, uncertain_rule().sum); }
  Uncertain& operator*=(Uncertain b) {
    const UncertainRule& rule = uncertain_rule();
    const double product = value * b.value;
    const double inherited = value * value * b.variance + b.value * b.value * variance +
                             rule.reach * rule.reach * variance * b.variance;
    return *this = {product, inherited + rule.step * product * product};
  }
  Uncertain& operator/=(Uncertain b) { return divide(b, 0); }

  // The divisor may be smaller by reach deviations, though not below `floor`.
  Uncertain& divide(Uncertain b, double floor) {
    const UncertainRule& rule = uncertain_rule();
    const double quotient = value / b.value;
    const double least = std::max(floor, std::fabs(b.value) - rule.reach * b.deviation());
    const double inherited = variance + b.variance == 0 ? 0
                             : least > 0
                                 ? (variance + quotient * quotient * b.variance) / (least * least)
                                 : INFINITY;
    return *this = {quotient, inherited + rule.step * quotient * quotient};
  }

  // Adding an exact 0 rounds nothing.
  Uncertain& add(Uncertain b, double rounding) {
    if (b.is_zero()) return *this;
    if (is_zero()) return *this = b;
    const double total = value + b.value;
    return *this = {total, variance + b.variance + rounding * total * total};
  }
};

inline Uncertain operator-(Uncertain a) { return {-a.value, a.variance}; }
inline Uncertain operator+(Uncertain a, Uncertain b) { return a.add(b, uncertain_rule().step); }
inline Uncertain operator-(Uncertain a, Uncertain b) { return a + -b; }
inline Uncertain operator*(Uncertain a, Uncertain b) { return a *= b; }
inline Uncertain operator/(Uncertain a, Uncertain b) { return a /= b; }

inline double to_double(Uncertain a) { return a.value; }

// a / b, of a b that no error makes smaller than `floor`: the root of a norm.
template <class X>
X over(X a, X b, double /*floor*/) {
  return a / b;
}
template <>
inline Uncertain over(Uncertain a, Uncertain b, double floor) {
  return a.divide(b, floor);
}

// x, which no error moves by more than `most`: a probability.
template <class X>
X moved_at_most(X x, double /*most*/) {
  return x;
}
template <>
inline Uncertain moved_at_most(Uncertain x, double most) {
  const double deviation = most / uncertain_rule().reach;
  return {x.value, std::min(x.variance, deviation * deviation)};
}

Uncertain exp(Uncertain a);
Uncertain log(Uncertain a);
Uncertain sqrt(Uncertain a);
Uncertain tanh(Uncertain a);
Uncertain erf(Uncertain a);
Uncertain sigmoid(Uncertain a);

}  // namespace assay::reference
