// A double that is rounded to a narrower type after every operation, to nearest or stochastically:
// what a kernel with that accumulator computes, step by step.
//
// + - * / sqrt and the fused multiply-add of fp32 and narrower types are correctly rounded this
// way: double has more than twice their bits and two to spare (Figueroa, "When is double rounding
// innocuous?", SIGNUM 30(3), 1995; for the multiply-add but for ties of a 53-bit sum).
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include "golden/contract/precision.h"

namespace assay::reference {

// How Rounded numbers round on this thread.
struct Rounding {
  golden::Precision accumulate = golden::Precision::fp64;
  golden::Precision operands = golden::Precision::fp64;  // what factors of a product are read as
  bool stochastic = false;
  uint64_t seed = 0;
  uint32_t node = 0;  // each node draws from a stream of its own
};

// Where this thread is in its draws.
struct RoundingState {
  Rounding rule;
  uint64_t row = 0, draws = 0;
  std::array<uint32_t, 4> words{};
};
RoundingState& rounding_state();

// Sets this thread's rounding for a scope. `row` numbers the independent pieces of a node, so that
// the draws do not depend on which thread computes which piece.
class RoundingScope {
 public:
  explicit RoundingScope(const Rounding& rule, uint64_t row = 0) : before_(rounding_state()) {
    rounding_state() = {rule, row, 0, {}};
  }
  ~RoundingScope() { rounding_state() = before_; }
  RoundingScope(const RoundingScope&) = delete;
  RoundingScope& operator=(const RoundingScope&) = delete;

 private:
  RoundingState before_;
};

// x in `precision`, by this thread's rule: to nearest, or up with the probability that makes the
// expectation x.
double round_here(golden::Precision precision, double x);

struct Rounded {
  double value = 0;

  Rounded() = default;
  // Implicit: constants mix with rounded numbers in formulas.
  Rounded(double x) : value(round_here(rounding_state().rule.accumulate, x)) {}

  Rounded& operator+=(Rounded b) { return *this = Rounded(value + b.value); }
  Rounded& operator-=(Rounded b) { return *this = Rounded(value - b.value); }
  Rounded& operator*=(Rounded b) { return *this = Rounded(value * b.value); }
  Rounded& operator/=(Rounded b) { return *this = Rounded(value / b.value); }
};

inline Rounded operator-(Rounded a) {
  a.value = -a.value;
  return a;
}
inline Rounded operator+(Rounded a, Rounded b) { return a += b; }
inline Rounded operator-(Rounded a, Rounded b) { return a -= b; }
inline Rounded operator*(Rounded a, Rounded b) { return a *= b; }
inline Rounded operator/(Rounded a, Rounded b) { return a /= b; }

inline double to_double(Rounded a) { return a.value; }

inline Rounded exp(Rounded a) { return Rounded(std::exp(a.value)); }
inline Rounded log(Rounded a) { return Rounded(std::log(a.value)); }
inline Rounded sqrt(Rounded a) { return Rounded(std::sqrt(a.value)); }
inline Rounded tanh(Rounded a) { return Rounded(std::tanh(a.value)); }
inline Rounded erf(Rounded a) { return Rounded(std::erf(a.value)); }

}  // namespace assay::reference
