// The one rule by which two numbers agree, and its count over a tensor.
#pragma once

#ifdef __FAST_MATH__
#error "verify judges NaN and infinities: it must not be compiled with -ffast-math"
#endif

#include <cstdint>
#include <span>

namespace assay::verify {

// |candidate - expected| <= bound. A NaN on either side never agrees; an infinity agrees with the
// same infinity only, whatever the bound.
bool within(double expected, double candidate, double bound);

struct Comparison {
  int64_t compared = 0;
  int64_t outside = 0;   // elements that are not within their bound
  int64_t first = -1;    // index of the first of them
  double max_ratio = 0;  // largest |error| / bound; infinite where the bound is 0 and the error not
  double rms_error = 0;  // over the elements that are finite on both sides
  int64_t nonfinite = 0;  // candidate NaN or infinite where expected is not that
  int64_t unmasked = 0;   // expected -inf, candidate finite

  bool agrees() const { return compared > 0 && outside == 0; }
};

// All three have the same size; bound[i] belongs to element i.
Comparison compare(std::span<const double> expected, std::span<const double> candidate,
                   std::span<const double> bound);

}  // namespace assay::verify
