#include "verify/training/rise.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "verify/training/level.h"
#include "verify/training/statistics.h"

namespace assay::verify::training {
namespace {

double end_level(const Series& series, std::size_t width) {
  const auto end = series.values.end();
  return median({end - static_cast<int64_t>(width), end});
}

// By means of `width` neighbours. S_i = max(0, S_{i-1} + (L_i - best) / sigma - 1/2) from the best
// level on: it grows while the loss stays above, and goes back where it recovers. sigma is what
// independent points would have whose means have the same error.
Rise rise_by(const Series& train, std::size_t width) {
  constexpr double kLeast = 0.15;
  const std::size_t n = train.values.size();
  const double root = std::sqrt(static_cast<double>(width));
  const Level best = best_level(train, width);
  const std::size_t after = best.first + best.count;
  const double sigma =
      std::max({error_of_means(train.values, width) * root, train.half_step, 0.01});
  Rise rise;
  rise.from = best.value;
  rise.height = end_level(train, width) - best.value;
  rise.limit = std::max({kLeast, 0.02 * std::abs(best.value), 7.5 * sigma / root});
  rise.first_step = train.steps[best.first];
  rise.last_step = train.steps[after - 1];
  rise.end_step = train.steps[n - width];
  for (std::size_t i = after; i < n; ++i) {
    rise.sum = std::max(0.0, rise.sum + (train.values[i] - best.value) / sigma - 0.5);
  }
  return rise;
}

// By narrow means, which see a sudden rise, and by wide ones, whose noise is less: the first that
// lasts, else that of the narrowest.
Rise most_lasting(const Series& train) {
  const std::size_t n = train.values.size();
  Rise narrowest = rise_by(train, std::max<std::size_t>(3, n / 20));
  if (narrowest.is_lasting()) return narrowest;
  for (const std::size_t width : {n / 10, n / 5, n / 3}) {
    if (width <= 3) continue;
    Rise wide = rise_by(train, width);
    if (wide.is_lasting()) return wide;
  }
  return narrowest;
}

// Means of `width` neighbours, every `stride` points, up to the last.
Series means_of(const Series& series, std::size_t width, std::size_t stride) {
  Series means;
  means.half_step = series.half_step;
  const std::size_t n = series.values.size();
  std::vector<double> sums{0};
  for (const double value : series.values) sums.push_back(sums.back() + value);
  for (std::size_t end = width + (n - width) % stride; end <= n; end += stride) {
    means.add(series.steps[end - 1], (sums[end] - sums[end - width]) / static_cast<double>(width));
  }
  return means;
}

// The spread of differences over `lag` points; of second ones, in which a steady trend vanishes,
// where the curve is long enough.
double spread_over(const Series& series, std::size_t lag, bool second) {
  const std::vector<double>& values = series.values;
  std::vector<double> differences;
  for (std::size_t i = second ? 2 * lag : lag; i < values.size(); ++i) {
    const double change = values[i] - values[i - lag];
    differences.push_back(second ? change - (values[i - lag] - values[i - 2 * lag]) : change);
  }
  return median_distance(differences);
}

// After how many points the loss is as it was, but for a steady trend, while after half as many it
// is another: batches that come in one order in every epoch. 0: after none.
std::size_t period_of(const Series& train) {
  constexpr std::size_t kFewest = 40;
  const std::size_t n = train.values.size(), stride = std::max<std::size_t>(1, n / 800);
  if (n < kFewest) return 0;
  const Series means = means_of(train, std::max<std::size_t>(3, n / 40), stride);
  const std::size_t count = means.values.size();
  std::size_t period = 0;
  double clearest = 1;
  for (std::size_t lag = std::max<std::size_t>(4, count / 40); 2 * lag + 2 <= count; ++lag) {
    const bool second = 4 * lag <= count;
    const double same = spread_over(means, lag, second);
    const double other = spread_over(means, lag / 2, second) / (second ? 2 : 1.6);
    if (other <= clearest * same || same == 0) continue;
    clearest = other / same;
    period = lag * stride;
  }
  return period;
}

// Whether val was seen before and during the rise and is no higher for it.
bool val_holds(const Curve& curve, const Rise& rise) {
  constexpr std::size_t kFewest = 3;
  const Series val = finite_part(curve.val);
  if (val.values.size() < kFewest || val.steps.front() > rise.last_step ||
      val.steps.back() < rise.end_step) {
    return false;
  }
  const Level late = late_level(val), best = best_level(val, late.count);
  const double highest = std::max(late.value, val.values.back());
  const double noise = kSigmas * std::hypot(late.error, best.error);
  return highest - best.value <=
         std::min(rise.height / 2, std::max({0.02, rise.height / 10, noise}));
}

// Of the end over the same part of the period before, whose length is known to an eighth.
double rise_over_period(const Series& train, std::size_t period) {
  const std::size_t width = std::max<std::size_t>(3, period / 8), slack = period / 8;
  const std::size_t n = train.values.size();
  double before = -std::numeric_limits<double>::infinity();
  for (std::size_t lag = period - slack; lag <= period + slack && lag + width <= n;
       lag += std::max<std::size_t>(1, slack / 8)) {
    Series earlier = train;
    earlier.values.resize(n - lag);
    before = std::max(before, end_level(earlier, width));
  }
  return end_level(train, width) - before;
}

}  // namespace

Rise rise_of(const Curve& curve) {
  const Series train = finite_part(curve.train);
  Rise rise = most_lasting(train);
  if (const std::size_t period = period_of(train); period > 0) {
    const Rise between = most_lasting(means_of(train, period, 1));
    if (between.is_lasting()) {
      rise = between;
    } else if (rise.is_lasting() && rise_over_period(train, period) < rise.height / 3) {
      rise.excuse = "it rises so every " + std::to_string(period) + " points and comes back";
    }
  }
  if (!rise.is_lasting()) return rise;
  if (rise.excuse.empty() && val_holds(curve, rise)) {
    rise.excuse = "val is no higher than at its best";
  }
  if (rise.from + rise.height > train.values.front()) rise.excuse.clear();
  return rise;
}

}  // namespace assay::verify::training
