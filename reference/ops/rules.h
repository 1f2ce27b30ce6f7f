// Small pieces that several operations' rules are written with.
#pragma once

#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <type_traits>

#include "golden/contract/error.h"
#include "reference/graph/op.h"
#include "reference/products/products.h"

namespace assay::reference {

// The engine every product of the reference runs on; `ordered` unless a program chooses at
// start-up.
Engine products_engine();
void set_products_engine(Engine engine);

// body(row) for row in [0, rows), in parallel; `row_work` is roughly the operations of one row.
// X is the number type that body computes with: rounded numbers draw from a stream of their row.
template <class X = double, class Body>
void for_rows(int64_t rows, int64_t row_work, Body&& body) {
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, row_work));
  const Rounding rule = rounding_state().rule;
  const UncertainRule uncertain = uncertain_rule();
  tbb::parallel_for(tbb::blocked_range<int64_t>(0, rows, grain), [&](const auto& range) {
    const UncertainScope errors(uncertain);
    for (int64_t row = range.begin(); row < range.end(); ++row) {
      if constexpr (std::is_same_v<X, Rounded>) {
        const RoundingScope scope(rule, static_cast<uint64_t>(row) + 1);
        body(row);
      } else {
        body(row);
      }
    }
  });
}

// body(i) for every element of a tensor, in parallel over its rows.
template <class X = double, class Body>
void for_elements(const Shape& shape, int64_t element_work, Body&& body) {
  const int64_t row = shape.empty() ? 1 : std::max<int64_t>(1, shape.back());
  for_rows<X>(golden::element_count(shape) / row, element_work * row, [&](int64_t r) {
    for (int64_t i = r * row; i < (r + 1) * row; ++i) body(i);
  });
}

inline double count_of(const Operand& operand) {
  return static_cast<double>(golden::element_count(operand.shape));
}

// Requires axes and rank; throws InputError "op: operand i: expected axes BHTD, got BTD [2,4,8]".
void expect_axes(const Op& op, std::span<const Operand> in, std::size_t operand,
                 const std::string& axes);
void expect_extent(const Op& op, const std::string& what, int64_t expected, int64_t got);

// Root of a sum of squares that neither underflow nor overflow: squares of tiny and of huge terms
// are summed apart, scaled (Blue, "A portable Fortran program to find the Euclidean norm of a
// vector", ACM TOMS 4, 1978).
class RootSumSquare {
 public:
  void add(double term) {
    const double size = std::fabs(term);
    if (size > kTiny && size < kHuge) {
      middle_ += size * size;
    } else if (size != 0) {
      add_far(size);
    }
  }
  double result() const {
    if (tiny_ == 0 && huge_ == 0) return std::sqrt(middle_);
    if (!(huge_ == 0)) return kUp * std::sqrt(huge_ + middle_ * kDown * kDown);  // NaN stays
    return middle_ == 0 ? kDown * std::sqrt(tiny_) : std::sqrt(middle_ + tiny_ * kDown * kDown);
  }

 private:
  static constexpr double kTiny = 0x1p-480, kHuge = 0x1p480, kUp = 0x1p600, kDown = 0x1p-600;

  void add_far(double size) {
    if (size <= kTiny) {
      tiny_ += (size * kUp) * (size * kUp);
    } else {
      huge_ += (size * kDown) * (size * kDown);
    }
  }

  double tiny_ = 0, middle_ = 0, huge_ = 0;
};

inline double root_sum_square(double a, double b, double c = 0) {
  const double squares = a * a + b * b + c * c;
  if (squares > 1e-280 && squares < 1e280) return std::sqrt(squares);
  RootSumSquare sum;
  for (const double term : {a, b, c}) sum.add(term);
  return sum.result();
}

// Adds up error terms the way the model's norm says.
class ErrorSum {
 public:
  explicit ErrorSum(const ErrorModel& model) : worst_(model.norm == ErrorNorm::worst) {}
  void add(double term) {
    if (worst_) {
      total_ += std::fabs(term);
    } else {
      squares_.add(term);
    }
  }
  double result() const { return worst_ ? total_ : squares_.result(); }

 private:
  bool worst_;
  double total_ = 0;
  RootSumSquare squares_;
};

// Upper bounds on exp(e) - 1 and 1 - exp(-e), a lower one on exp(-e), for e >= 0: without the
// exponential where e is small, by a factor of 1 + e at most from the exact value.
inline constexpr double kSmallExponent = 1e-3;
inline double growth(double e) { return e < kSmallExponent ? e * (1 + e) : std::expm1(e); }
inline double shrinkage(double e) { return e < kSmallExponent ? e : -std::expm1(-e); }
inline double remainder(double e) { return e < kSmallExponent ? 1 - e : std::exp(-e); }

// How far y = exp(z) moves at most where z moves by up to e; y may have underflowed.
inline double exponential_move(double y, double z, double e) {
  return y >= std::numeric_limits<double>::min() ? y * growth(e) : std::exp(z + e);
}

// Where |slope| has a maximum, give or take `margin`, and a bound on it.
struct Turn {
  double at, margin, slope;
};

// The largest |slope| within e of x of a function whose |slope| is monotone between its turns and
// constant beyond 1e4 in size.
template <class Slope>
double steepest(Slope&& slope, double x, double e, std::span<const Turn> turns) {
  const auto at = [&](double point) { return std::fabs(slope(std::clamp(point, -1e4, 1e4))); };
  double most = std::max({at(x), at(x - e), at(x + e)});
  for (const Turn& turn : turns) {
    if (!(std::fabs(x - turn.at) > e + turn.margin)) most = std::max(most, turn.slope);
  }
  return most;
}

// The errors of c / r, with c a row of values and r = sqrt(mean(c^2) + eps) its root, as a norm
// divides: an enclosure, without a difference of nearly equal numbers. e: how far each c may move
// (in deviations, where the model's norm is that: independent ones, and `common` of what moves all
// c alike, which may depend on them). error may be e.
//
// With low <= r' <= high the moved root, c_d / r moves by
//   e_d / low + |c_d| max( (r^2 - low^2) / (low r (low + r)),
//                          (high^2 - r^2) / (high r (high + r)) )
// and never by more than sqrt(D) + |c_d| / r, because |c_d| / r <= sqrt(D).
//   worst      r'^2 lies between the mean squares of max(0, |c_d| - e_d) and of |c_d| + e_d
//   deviation  at k = reach: |sum c_d dc_d| <= k L with L^2 = sum c_d^2 e_d^2, and the length of dc
//              is at most N = sqrt(sum e_d^2) + k max e_d, so r'^2 lies in
//              r^2 - min(2 k L, C^2 - max(0, C - N)^2) / D .. r^2 + (2 k L + N^2) / D
//              with C^2 = sum c_d^2
void normalized_error(const ErrorModel& model, std::span<const double> c, std::span<const double> e,
                      double common, double eps, std::span<double> error);

// The relative error of `steps` successive roundings to the accumulator type: steps * u at worst; a
// rounding is uniform in [-u, u], variance u^2/3, so sqrt(steps / 3) * u as a deviation.
double chain_error(const ErrorModel& model, double steps);
// The same of elementary operations, which an eager implementation rounds to its storage type.
double step_error(const ErrorModel& model, double steps);

// The error at index i, 0 for an absent (exact) operand.
inline double error_at(const Array& error, int64_t i) {
  return error.absent() ? 0.0 : error.data()[i];
}

// Error of C = A B for one product, given |errors| of A and B (data may be null: exact):
//   worst      |A| eB + eA (|B| + eB) + K u |A||B|
//   deviation  sqrt( A^2 eB^2 + eA^2 (B^2 + k^2 eB^2) + (K/3) u^2 (A^2 B^2 + C^2) ),  k = reach
// The last term holds because a running sum of K terms is at most of the order of its end value or
// of its terms' root sum square, whichever is larger.
//
// Where the factors are read in fewer bits (model.operands), eA and eB are what they are after
// that. A tensor core may round them off or drop them, and its maker does not say which: an element
// is off by up to a spacing, 2 v |A| with v the unit roundoff of what it is read as, and exact if
// it has no more bits. Dropped bits make every factor smaller, by v of it on average, and so the
// whole of C: 2 v |C| is added to the deviation.
void product_error(const ErrorModel& model, ConstMatrix a, ConstMatrix a_error, ConstMatrix b,
                   ConstMatrix b_error, ConstMatrix c, Matrix c_error);

}  // namespace assay::reference
