#include "verify/statistics/compare.h"

#include <algorithm>
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

double root_mean(double sum, int64_t count) {
  return count == 0 ? 0 : std::sqrt(sum / static_cast<double>(count));
}

}  // namespace

bool within(double expected, double candidate, double bound) {
  if (std::isinf(expected) || std::isinf(candidate)) return expected == candidate;
  return std::abs(candidate - expected) <= bound;
}

std::vector<double> BoundRule::of(std::span<const double> deviation) const {
  std::vector<double> bound(deviation.size());
  std::transform(deviation.begin(), deviation.end(), bound.begin(), *this);
  return bound;
}

void ComparisonSums::add(std::size_t first, std::span<const double> expected,
                         std::span<const double> candidate, std::span<const double> deviation,
                         const BoundRule& rule) {
  ASSAY_CHECK(expected.size() == candidate.size() && expected.size() == deviation.size(),
              std::to_string(expected.size()) + ", " + std::to_string(candidate.size()) + ", " +
                  std::to_string(deviation.size()));
  seen_.compared += static_cast<int64_t>(expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    add_element(first + i, expected[i], candidate[i], deviation[i], rule(deviation[i]));
  }
}

void ComparisonSums::add_element(std::size_t i, double e, double c, double deviation,
                                 double bound) {
  if (std::isfinite(bound)) {
    bound_sq_ += bound * bound;
    ++bounded_;
  }
  if (e == c && std::isfinite(e) && bound >= 0) {
    ++finite_;
    return;
  }
  if (!within(e, c, bound) && seen_.outside++ == 0) seen_.first = static_cast<int64_t>(i);
  seen_.max_ratio = std::max(seen_.max_ratio, ratio_of(e, c, bound));
  seen_.max_sigmas = std::max(seen_.max_sigmas, ratio_of(e, c, deviation));
  if (!std::isfinite(c) && !(c == e)) ++seen_.nonfinite;
  if (std::isinf(e) && std::isfinite(c)) ++seen_.unmasked;
  if (std::isfinite(e) && std::isfinite(c)) {
    error_sq_ += (c - e) * (c - e);
    ++finite_;
  }
}

void ComparisonSums::join(const ComparisonSums& next) {
  if (seen_.first < 0) seen_.first = next.seen_.first;
  seen_.compared += next.seen_.compared;
  seen_.outside += next.seen_.outside;
  seen_.max_ratio = std::max(seen_.max_ratio, next.seen_.max_ratio);
  seen_.max_sigmas = std::max(seen_.max_sigmas, next.seen_.max_sigmas);
  seen_.nonfinite += next.seen_.nonfinite;
  seen_.unmasked += next.seen_.unmasked;
  error_sq_ += next.error_sq_;
  bound_sq_ += next.bound_sq_;
  finite_ += next.finite_;
  bounded_ += next.bounded_;
}

Comparison ComparisonSums::result() const {
  Comparison result = seen_;
  result.rms_error = root_mean(error_sq_, finite_);
  result.rms_bound = root_mean(bound_sq_, bounded_);
  return result;
}

Comparison compare(std::span<const double> expected, std::span<const double> candidate,
                   std::span<const double> bound) {
  ComparisonSums sums;
  sums.add(0, expected, candidate, bound, {});
  return sums.result();
}

}  // namespace assay::verify
