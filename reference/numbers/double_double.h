// A number as the unevaluated sum of two doubles, hi + lo with |lo| <= ulp(hi)/2: at least 104
// significant bits.
//
// Sums and products are those of Dekker (1971) and Knuth with one fused multiply-add; relative
// error of each at most 2^-102 (Joldes, Muller and Popescu, "Tight and rigorous error bounds for
// basic building blocks of double-word arithmetic", ACM TOMS 44(2), 2017, algorithms 6, 12 and 17).
// Transcendental functions go through libquadmath's 113 bits.
#pragma once

#include <quadmath.h>

#include <cmath>

namespace assay::reference {

__extension__ typedef __float128 Quad;

struct DoubleDouble {
  double hi = 0, lo = 0;

  DoubleDouble() = default;
  DoubleDouble(double x) : hi(x) {}  // implicit: constants mix with double-doubles in formulas
  DoubleDouble(double high, double low) : hi(high), lo(low) {}
  explicit DoubleDouble(Quad q) : hi(static_cast<double>(q)) {
    if (std::isfinite(hi)) lo = static_cast<double>(q - static_cast<Quad>(hi));
  }

  DoubleDouble& operator+=(DoubleDouble b);
  DoubleDouble& operator-=(DoubleDouble b) { return *this += {-b.hi, -b.lo}; }
  DoubleDouble& operator*=(DoubleDouble b);
  DoubleDouble& operator/=(DoubleDouble b);
};

inline Quad to_quad(DoubleDouble a) { return static_cast<Quad>(a.hi) + static_cast<Quad>(a.lo); }
inline double to_double(DoubleDouble a) { return a.hi; }

// a + b with |a| >= |b|, exactly.
inline DoubleDouble fast_two_sum(double a, double b) {
  const double sum = a + b;
  return {sum, b - (sum - a)};
}

// a + b, exactly.
inline DoubleDouble two_sum(double a, double b) {
  const double sum = a + b, rest = sum - a;
  return {sum, (a - (sum - rest)) + (b - rest)};
}

inline DoubleDouble& DoubleDouble::operator+=(DoubleDouble b) {
  const DoubleDouble high = two_sum(hi, b.hi), low = two_sum(lo, b.lo);
  if (!std::isfinite(high.hi)) return *this = {high.hi, 0.0};  // the rest would be inf - inf
  const DoubleDouble carried = fast_two_sum(high.hi, high.lo + low.hi);
  return *this = fast_two_sum(carried.hi, carried.lo + low.lo);
}

inline DoubleDouble& DoubleDouble::operator*=(DoubleDouble b) {
  const double product = hi * b.hi;
  if (!std::isfinite(product)) return *this = {product, 0.0};
  const double rest = std::fma(hi, b.hi, -product);
  return *this = fast_two_sum(product, rest + std::fma(hi, b.lo, lo * b.hi));
}

inline DoubleDouble operator-(DoubleDouble a) { return {-a.hi, -a.lo}; }
inline DoubleDouble operator+(DoubleDouble a, DoubleDouble b) { return a += b; }
inline DoubleDouble operator-(DoubleDouble a, DoubleDouble b) { return a -= b; }
inline DoubleDouble operator*(DoubleDouble a, DoubleDouble b) { return a *= b; }

inline DoubleDouble& DoubleDouble::operator/=(DoubleDouble b) {
  const double first = hi / b.hi;
  if (!std::isfinite(first)) return *this = {first, 0.0};
  const DoubleDouble rest = *this - b * DoubleDouble(first);  // exact to the last bits
  return *this = fast_two_sum(first, rest.hi / b.hi);
}
inline DoubleDouble operator/(DoubleDouble a, DoubleDouble b) { return a /= b; }

inline DoubleDouble exp(DoubleDouble a) { return DoubleDouble(expq(to_quad(a))); }
inline DoubleDouble log(DoubleDouble a) { return DoubleDouble(logq(to_quad(a))); }
inline DoubleDouble sqrt(DoubleDouble a) { return DoubleDouble(sqrtq(to_quad(a))); }
inline DoubleDouble tanh(DoubleDouble a) { return DoubleDouble(tanhq(to_quad(a))); }
inline DoubleDouble erf(DoubleDouble a) { return DoubleDouble(erfq(to_quad(a))); }

}  // namespace assay::reference
