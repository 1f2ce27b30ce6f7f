#include "verify/training/level.h"

#include <algorithm>
#include <cmath>

#include "verify/training/statistics.h"

namespace assay::verify::training {
namespace {

constexpr std::size_t kFewestForMedian = 12;

Level level_of(const Series& series, std::size_t first, std::size_t count) {
  constexpr std::size_t kFewest = 4;
  Level level{0, 0, first, count, series.values.size() >= kFewest};
  for (std::size_t i = first; i < first + count; ++i) level.value += series.values[i];
  level.value /= static_cast<double>(count);
  level.error = std::max(error_of_means(series.values, count),
                         series.half_step / std::sqrt(static_cast<double>(count)));
  return level;
}

}  // namespace

Series finite_part(const Series& series) {
  Series part;
  part.half_step = series.half_step;
  for (std::size_t i = 0; i < series.values.size(); ++i) {
    if (std::isfinite(series.values[i])) part.add(series.steps[i], series.values[i]);
  }
  return part;
}

Level late_level(const Series& series, double share) {
  const std::size_t n = series.values.size();
  if (n == 0) return {};
  const std::size_t count =
      std::max<std::size_t>(1, static_cast<std::size_t>(share * static_cast<double>(n) + 1e-9));
  Level level = level_of(series, n - count, count);
  // Of 3 points or more, a spike among them is none of the level.
  const std::size_t seen = n >= kFewestForMedian ? std::max<std::size_t>(3, count) : count;
  const auto end = series.values.end();
  level.value = median({end - static_cast<int64_t>(seen), end});
  return level;
}

Level best_level(const Series& series, std::size_t width) {
  const std::size_t n = series.values.size();
  if (n == 0) return {};
  width = std::clamp<std::size_t>(width, 1, n);
  double sum = 0;
  for (std::size_t i = 0; i < width; ++i) sum += series.values[i];
  double lowest = sum;
  std::size_t at = 0;
  for (std::size_t i = width; i < n; ++i) {
    sum += series.values[i] - series.values[i - width];
    if (sum < lowest) {
      lowest = sum;
      at = i + 1 - width;
    }
  }
  return level_of(series, at, width);
}

Level level_near(const Series& series, double step, std::size_t width) {
  const std::size_t n = series.values.size();
  if (n == 0) return {};
  width = std::clamp<std::size_t>(width, 1, n);
  const auto after = std::lower_bound(series.steps.begin(), series.steps.end(), step);
  const auto at = static_cast<std::size_t>(after - series.steps.begin());
  const std::size_t first = std::min(at > width / 2 ? at - width / 2 : 0, n - width);
  return level_of(series, first, width);
}

}  // namespace assay::verify::training
