// A number and its derivative along one direction: arithmetic on it is forward-mode
// differentiation. Source: Griewank and Walther, "Evaluating Derivatives", 2nd ed., 2008, section
// 3.1.
#pragma once

#include <cmath>

namespace assay::reference {

struct Dual {
  double value = 0, tangent = 0;

  Dual() = default;
  Dual(double constant) : value(constant) {}  // implicit: constants mix with duals in formulas
  Dual(double v, double t) : value(v), tangent(t) {}

  Dual& operator+=(Dual b) { return *this = {value + b.value, tangent + b.tangent}; }
  Dual& operator-=(Dual b) { return *this = {value - b.value, tangent - b.tangent}; }
  Dual& operator*=(Dual b) {
    return *this = {value * b.value, tangent * b.value + value * b.tangent};
  }
  Dual& operator/=(Dual b) {
    const double quotient = value / b.value;
    return *this = {quotient, (tangent - quotient * b.tangent) / b.value};
  }
};

inline Dual operator-(Dual a) { return {-a.value, -a.tangent}; }
inline Dual operator+(Dual a, Dual b) { return a += b; }
inline Dual operator-(Dual a, Dual b) { return a -= b; }
inline Dual operator*(Dual a, Dual b) { return a *= b; }
inline Dual operator/(Dual a, Dual b) { return a /= b; }

inline double to_double(Dual a) { return a.value; }

inline Dual exp(Dual a) {
  const double e = std::exp(a.value);
  return {e, e * a.tangent};
}
inline Dual log(Dual a) { return {std::log(a.value), a.tangent / a.value}; }
inline Dual sqrt(Dual a) {
  const double root = std::sqrt(a.value);
  return {root, a.tangent / (2 * root)};
}
inline Dual tanh(Dual a) {
  const double t = std::tanh(a.value);
  return {t, (1 - t * t) * a.tangent};
}
inline Dual erf(Dual a) {
  return {std::erf(a.value), M_2_SQRTPI * std::exp(-a.value * a.value) * a.tangent};
}

}  // namespace assay::reference
