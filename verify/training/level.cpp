#include "verify/training/level.h"

#include <algorithm>
#include <cmath>

#include "verify/training/statistics.h"

namespace assay::verify::training {
namespace {

Level level_of(const Series& series, std::size_t first, std::size_t count) {
  constexpr std::size_t kFewest = 4;
  Level level{0, 0, first, count, series.values.size() >= kFewest};
  for (std::size_t i = first; i < first + count; ++i) level.value += series.values[i];
  level.value /= static_cast<double>(count);
  const double noise = std::max(noise_of(series.values), series.half_step);
  level.error = noise / std::sqrt(static_cast<double>(count));
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

Level late_level(const Series& series) {
  const std::size_t n = series.values.size();
  if (n == 0) return {};
  const std::size_t count = std::max<std::size_t>(1, n / 10);
  return level_of(series, n - count, count);
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
