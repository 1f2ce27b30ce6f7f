// The one rule by which two numbers agree, and its count over a tensor.
#pragma once

#ifdef __FAST_MATH__
#error "verify judges NaN and infinities: it must not be compiled with -ffast-math"
#endif

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace assay::verify {

// |candidate - expected| <= bound. A NaN on either side never agrees; an infinity agrees with the
// same infinity only, whatever the bound.
bool within(double expected, double candidate, double bound);

struct Comparison {
  int64_t compared = 0;
  int64_t outside = 0;   // elements that are not within their bound
  int64_t first = -1;    // index of the first of them
  double max_ratio = 0;  // largest |error| / bound; infinite where the bound is 0 and the error not
  double max_sigmas = 0;  // the same of |error| / deviation
  double rms_error = 0;   // over the elements that are finite on both sides
  double rms_bound = 0;   // over the finite ones
  int64_t nonfinite = 0;  // candidate NaN or infinite where expected is not that
  int64_t unmasked = 0;   // expected -inf, candidate finite

  bool agrees() const { return compared > 0 && outside == 0; }
};

// From the deviation of an element, or its worst case, to its bound. An element without deviation
// is exact: its bound is 0.
struct BoundRule {
  double factor = 1;
  double least = 0;   // added, for what underflows
  bool open = false;  // there is no bound: anything finite is within it

  double operator()(double deviation) const {
    if (open) return std::numeric_limits<double>::infinity();
    return deviation == 0 ? 0 : factor * deviation + least;
  }
  std::vector<double> of(std::span<const double> deviation) const;
};

// What a comparison adds up, piece by piece.
class ComparisonSums {
 public:
  // Elements first, first + 1, .. of three runs of one size; element i may deviate by
  // rule(deviation[i]).
  void add(std::size_t first, std::span<const double> expected, std::span<const double> candidate,
           std::span<const double> deviation, const BoundRule& rule);
  void join(const ComparisonSums& next);  // of later elements
  Comparison result() const;

 private:
  void add_element(std::size_t i, double expected, double candidate, double deviation,
                   double bound);

  Comparison seen_;
  double error_sq_ = 0, bound_sq_ = 0;
  int64_t finite_ = 0, bounded_ = 0;
};

// All three have the same size; bound[i] belongs to element i.
Comparison compare(std::span<const double> expected, std::span<const double> candidate,
                   std::span<const double> bound);

}  // namespace assay::verify
