// Sums over the elements of a large tensor, over threads; the same whatever their number.
#pragma once

#include <tbb/blocked_range.h>
#include <tbb/parallel_reduce.h>

#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "golden/contract/error.h"
#include "verify/statistics/compare.h"

namespace assay::verify {

inline constexpr std::size_t kChunk = 1 << 14;  // elements: a core's cache holds three such runs

// Sum of add(first, last, partial) over pieces [first, last) of [0, size), of kChunk elements at
// most, joined to those before them by Sum::join(const Sum&).
template <class Sum, class Add>
Sum over_chunks(std::size_t size, Add&& add) {
  return tbb::parallel_deterministic_reduce(
      tbb::blocked_range<std::size_t>(0, size, kChunk), Sum{},
      [&](const auto& piece, Sum sum) {
        add(piece.begin(), piece.end(), sum);
        return sum;
      },
      [](Sum before, const Sum& after) {
        before.join(after);
        return before;
      });
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
