#include "verify/statistics/compare.h"

#include <cmath>
#include <limits>
#include <string>

#include "golden/contract/error.h"

namespace assay::verify {
namespace {

// |error| / bound with 0/0 = 0; infinite for anything that has no finite error.
double ratio_of(double expected, double candidate, double bound) {
  if (expected == candidate) return 0;
  const double ratio = std::abs(candidate - expected) / bound;
  return std::isnan(ratio) ? std::numeric_limits<double>::infinity() : ratio;
}

}  // namespace

bool within(double expected, double candidate, double bound) {
  if (std::isinf(expected) || std::isinf(candidate)) return expected == candidate;
  return std::abs(candidate - expected) <= bound;
}

Comparison compare(std::span<const double> expected, std::span<const double> candidate,
                   std::span<const double> bound) {
  ASSAY_CHECK(expected.size() == candidate.size() && expected.size() == bound.size(),
              std::to_string(expected.size()) + ", " + std::to_string(candidate.size()) + ", " +
                  std::to_string(bound.size()));
  Comparison result;
  result.compared = static_cast<int64_t>(expected.size());
  double sum_sq = 0;
  int64_t finite = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double e = expected[i], c = candidate[i];
    if (!within(e, c, bound[i])) {
      if (result.outside == 0) result.first = static_cast<int64_t>(i);
      ++result.outside;
    }
    if (const double ratio = ratio_of(e, c, bound[i]); !(ratio <= result.max_ratio)) {
      result.max_ratio = ratio;
    }
    if (!std::isfinite(c) && !(c == e)) ++result.nonfinite;
    if (std::isinf(e) && std::isfinite(c)) ++result.unmasked;
    if (std::isfinite(e) && std::isfinite(c)) {
      sum_sq += (c - e) * (c - e);
      ++finite;
    }
  }
  if (finite > 0) result.rms_error = std::sqrt(sum_sq / static_cast<double>(finite));
  return result;
}

}  // namespace assay::verify
