// Sums over the elements of a large tensor, over threads; the same whatever their number.
#pragma once

#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "golden/contract/error.h"
#include "verify/statistics/compare.h"

namespace assay::verify {

inline constexpr std::size_t kChunk = 1 << 14;  // elements: a core's cache holds three such runs

// Sum of add(first, last, partial) over pieces [first, last) of [0, size), joined in ascending
// order by Sum::join(const Sum&).
template <class Sum, class Add>
Sum over_chunks(std::size_t size, Add&& add) {
  std::vector<Sum> partial((size + kChunk - 1) / kChunk);
  tbb::parallel_for(std::size_t{0}, partial.size(), [&](std::size_t chunk) {
    add(chunk * kChunk, std::min(size, (chunk + 1) * kChunk), partial[chunk]);
  });
  Sum total;
  for (const Sum& part : partial) total.join(part);
  return total;
}

// compare() of a large tensor; element i may deviate by rule(deviation[i]).
inline Comparison compare_chunks(std::span<const double> expected,
                                 std::span<const double> candidate,
                                 std::span<const double> deviation, const BoundRule& rule) {
  ASSAY_CHECK(expected.size() == candidate.size() && expected.size() == deviation.size(),
              std::to_string(expected.size()));
  const auto sums = over_chunks<ComparisonSums>(
      expected.size(), [&](std::size_t first, std::size_t last, ComparisonSums& part) {
        const std::size_t size = last - first;
        part.add(first, expected.subspan(first, size), candidate.subspan(first, size),
                 deviation.subspan(first, size), rule);
      });
  return sums.result();
}

// No element may deviate.
inline Comparison compare_exactly(std::span<const double> expected,
                                  std::span<const double> candidate) {
  static const std::vector<double> kNone(kChunk);
  ASSAY_CHECK(expected.size() == candidate.size(), std::to_string(expected.size()));
  const auto sums = over_chunks<ComparisonSums>(
      expected.size(), [&](std::size_t first, std::size_t last, ComparisonSums& part) {
        const std::size_t size = last - first;
        part.add(first, expected.subspan(first, size), candidate.subspan(first, size),
                 std::span(kNone).first(size), {});
      });
  return sums.result();
}

inline bool all_finite_in(std::span<const double> values) {
  struct Any {
    bool found = false;
    void join(const Any& other) { found = found || other.found; }
  };
  const Any infinite =
      over_chunks<Any>(values.size(), [&](std::size_t first, std::size_t last, Any& part) {
        for (std::size_t i = first; i < last && !part.found; ++i) {
          part.found = !std::isfinite(values[i]);
        }
      });
  return !infinite.found;
}

}  // namespace assay::verify
