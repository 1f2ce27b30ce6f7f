// A scalar that carries dependences: a double, and the sources that it was computed from. A kernel
// instantiated with it shows which sources reach which element of its result.
//
// Every operation unites the sources of its operands, whatever their values are: 0 * x and x - x
// depend on x, max(a, b) on both. What a kernel selects by an index it does not depend on. Nothing
// can be compared and nothing turns into another number, so a kernel that let a value steer it, or
// took its sources off, does not compile. Memory that nobody wrote is NaN and comes from
// everywhere.
// On the host executor only.
#pragma once

#include <cmath>
#include <limits>

#include "cuda_impl/simt/simt.h"
#include "cuda_impl/simt/source_set.h"

namespace assay::simt {
inline namespace on_host {

struct Tainted {
  double value;
  SourceSet sources;

  Tainted() = default;
  constexpr Tainted(double number) : value(number), sources{} {}  // from nowhere: a constant
  constexpr Tainted(double number, const SourceSet& from) : value(number), sources(from) {}

  // clang-format off
  friend Tainted operator-(const Tainted& a) { return {-a.value, a.sources}; }
  friend Tainted operator+(const Tainted& a, const Tainted& b) {
    return {a.value + b.value, a.sources | b.sources};
  }
  friend Tainted operator-(const Tainted& a, const Tainted& b) {
    return {a.value - b.value, a.sources | b.sources};
  }
  friend Tainted operator*(const Tainted& a, const Tainted& b) {
    return {a.value * b.value, a.sources | b.sources};
  }
  friend Tainted operator/(const Tainted& a, const Tainted& b) {
    return {a.value / b.value, a.sources | b.sources};
  }
  // clang-format on
  Tainted& operator+=(const Tainted& b) { return *this = *this + b; }
  Tainted& operator-=(const Tainted& b) { return *this = *this - b; }
  Tainted& operator*=(const Tainted& b) { return *this = *this * b; }
  Tainted& operator/=(const Tainted& b) { return *this = *this / b; }
};

// clang-format off
template <>
struct ScalarHooks<Tainted> {
  static Tainted exp(const Tainted& x) { return {simt::exp(x.value), x.sources}; }
  static Tainted log(const Tainted& x) { return {simt::log(x.value), x.sources}; }
  static Tainted sqrt(const Tainted& x) { return {simt::sqrt(x.value), x.sources}; }
  static Tainted rsqrt(const Tainted& x) { return {simt::rsqrt(x.value), x.sources}; }
  static Tainted tanh(const Tainted& x) { return {simt::tanh(x.value), x.sources}; }
  static Tainted erf(const Tainted& x) { return {simt::erf(x.value), x.sources}; }
  static Tainted abs(const Tainted& x) { return {simt::abs(x.value), x.sources}; }
  static Tainted max(const Tainted& a, const Tainted& b) {
    return {simt::max(a.value, b.value), a.sources | b.sources};
  }
};
// clang-format on

// For the engine, which reads results out. Kernels do not see it: they call to_accum.
inline double widen(const Tainted& x) { return x.value; }

}  // namespace on_host
}  // namespace assay::simt

template <>
class std::numeric_limits<assay::simt::Tainted> : public std::numeric_limits<double> {};
