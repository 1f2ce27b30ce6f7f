// Curves that blow up, and those that are dead.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "verify/training/curve_checks.h"
#include "verify/training/level.h"
#include "verify/training/rise.h"

namespace assay::verify::training {
namespace {

constexpr const char* kDivergenceLimit =
    "NaN or infinite at the end; late training loss > log V + 0.5; a lasting rise > 0.15 and its "
    "noise; gradient norm > 10 x its running median for 3 steps, with the loss";

struct Signs {
  std::vector<std::string> fired, noted;

  // The first sign is what came out, the others are details; `none` where there is no sign.
  void conclude(const std::string& none, Finding& finding) const {
    finding.state = !fired.empty() ? State::fired : !noted.empty() ? State::noted : State::quiet;
    finding.details = fired;
    finding.details.insert(finding.details.end(), noted.begin(), noted.end());
    finding.measured = finding.details.empty() ? none : finding.details.front();
    if (!finding.details.empty()) finding.details.erase(finding.details.begin());
  }
};

std::size_t trailing_nonfinite(const Series& series) {
  std::size_t count = 0;
  while (count < series.values.size() &&
         !std::isfinite(series.values[series.values.size() - 1 - count])) {
    ++count;
  }
  return count;
}

std::size_t all_nonfinite(const Series& series) {
  return static_cast<std::size_t>(std::count_if(series.values.begin(), series.values.end(),
                                                [](double v) { return !std::isfinite(v); }));
}

// `tail`: so many values at the end have to be bad; a gradient norm of one step may be, where a
// loss scale is being found.
void look_for_nonfinite(const Series& series, const char* name, std::size_t tail, Signs& signs) {
  const std::size_t at_end = trailing_nonfinite(series), all = all_nonfinite(series);
  if (all == 0) return;
  const std::size_t first = series.values.size() - at_end;
  if (at_end >= std::min(tail, series.values.size())) {
    signs.fired.push_back(
        fmt::format("{} is NaN or infinite from step {:g} to the end", name, series.steps[first]));
  } else {
    signs.noted.push_back(
        fmt::format("{} was NaN or infinite at {} steps and recovered", name, all));
  }
}

void look_for_high_level(const Curve& curve, std::optional<int64_t> vocab, Signs& signs) {
  constexpr std::size_t kFewest = 5;
  const Series train = finite_part(curve.train);
  if (!vocab || train.values.size() < kFewest) return;
  const double limit = std::log(static_cast<double>(*vocab)) + 0.5;
  const Level late = late_level(train);
  if (late.value <= limit) return;
  const Series val = finite_part(curve.val);
  const std::string what =
      fmt::format("late training loss {:.4g} > log V + 0.5 = {:.4g}", late.value, limit);
  if (!val.empty() && late_level(val).value < limit - 0.5) {
    signs.noted.push_back(what + ", but val is below log V: it is reported on another scale");
    return;
  }
  const std::size_t n = train.values.size();
  Series middle;
  for (std::size_t i = n / 3; i < 2 * n / 3; ++i) middle.add(train.steps[i], train.values[i]);
  const bool falls = median(middle.values) - late.value >
                     std::max(0.05, kSigmas * (late.error + middle.half_step));
  // What falls from where it began is learning; what climbed there first has not recovered.
  const double highest = *std::max_element(train.values.begin(), train.values.end());
  const bool climbed = highest - train.values.front() >
                       std::max(0.5, kSigmas * (noise_of(train.values) + train.half_step));
  if (falls && !climbed) {
    signs.noted.push_back(what + ", and still falls");
  } else {
    signs.fired.push_back(
        climbed ? fmt::format("{}, after {:.4g} and {:.4g}", what, train.values.front(), highest)
                : what);
  }
}

// Of the points at the end, how many are high.
std::size_t high_at_end(const Series& series, double limit) {
  std::size_t count = 0;
  while (count < series.values.size() && series.values[series.values.size() - 1 - count] > limit) {
    ++count;
  }
  return count;
}

void look_for_spike(const Series& train, const Rise& rise, Signs& signs) {
  const auto after = std::lower_bound(train.steps.begin(), train.steps.end(), rise.first_step);
  const auto first = train.values.begin() + (after - train.steps.begin());
  const double highest = *std::max_element(first, train.values.end());
  if (highest - rise.from <= 4 * rise.limit) return;
  const std::size_t high = high_at_end(train, rise.from + (highest - rise.from) / 4);
  signs.noted.push_back(
      high == 0
          ? fmt::format("training loss had a spike of {:.4g} and recovered", highest)
          : fmt::format("training loss is up from {:.4g} to {:.4g} at the end, for {} point{}: "
                        "too few to tell a spike from a divergence",
                        rise.from, train.values.back(), high, high == 1 ? "" : "s"));
}

void look_for_rise(const Curve& curve, Signs& signs) {
  constexpr std::size_t kFewest = 8;
  const Series train = finite_part(curve.train);
  if (train.values.size() < kFewest) return;
  const Rise rise = rise_of(curve);
  if (!rise.is_lasting()) return look_for_spike(train, rise, signs);
  const std::string what = fmt::format("training loss rose from {:.4g} at step {:g} to {:.4g}",
                                       rise.from, rise.first_step, rise.from + rise.height);
  if (rise.excuse.empty()) {
    signs.fired.push_back(fmt::format("{} and stays there (CUSUM {:.3g} > 10)", what, rise.sum));
  } else {
    signs.noted.push_back(what + ", yet " + rise.excuse);
  }
}

// Whether the training loss is higher from `step` on than it was before.
bool loss_rose_at(const Series& all, double step) {
  const Series train = finite_part(all);
  Series before, after;
  for (std::size_t i = 0; i < train.values.size(); ++i) {
    (train.steps[i] < step ? before : after).add(train.steps[i], train.values[i]);
  }
  if (before.empty() || after.empty()) return false;
  const Level was = late_level(before), is = late_level(after);
  return is.value - was.value > std::max(0.1, kSigmas * std::hypot(was.error, is.error));
}

void look_for_explosion(const Curve& curve, Signs& signs) {
  constexpr std::size_t kMemory = 50, kFewest = 5, kSteps = 3;
  const Series norms = finite_part(curve.grad_norm);
  std::vector<double> before;
  std::size_t run = 0;
  double first_step = 0, factor = 0;
  for (std::size_t i = 0; i < norms.values.size(); ++i) {
    const double usual = before.size() >= kFewest ? median(before) : 0;
    if (usual > 0 && norms.values[i] > 10 * usual) {
      if (run++ == 0) first_step = norms.steps[i];
      factor = std::max(factor, norms.values[i] / usual);
    } else {
      run = 0;
      factor = 0;
      before.push_back(norms.values[i]);
      if (before.size() > kMemory) before.erase(before.begin());
    }
    if (run != kSteps) continue;
    const bool at_end = i + kSteps >= norms.values.size();
    const bool wild = at_end && factor > 100 && norms.values[i] > 1;
    const std::string what = fmt::format(
        "gradient norm is {:.3g} x its running median from step {:g} on", factor, first_step);
    if (wild || loss_rose_at(curve.train, first_step)) {
      signs.fired.push_back(what);
    } else {
      signs.noted.push_back(what + ", without the loss");
    }
    return;
  }
}

void look_for_loss_scale(const Series& scales, Signs& signs) {
  if (scales.empty()) return;
  std::size_t halvings = 0;
  for (std::size_t i = 1; i < scales.values.size(); ++i) {
    halvings += scales.values[i] < scales.values[i - 1];
  }
  if (scales.values.back() < 1 && scales.values.front() >= 1) {
    signs.fired.push_back(fmt::format("the loss scale fell below 1, to {:.3g}, in {} reductions",
                                      scales.values.back(), halvings));
  } else if (halvings > 0) {
    signs.noted.push_back(fmt::format("the loss scale was reduced {} times", halvings));
  }
}

// NaN stands where a value is missing if there are more of them than of values.
Series evaluated(const Series& series) {
  return 2 * all_nonfinite(series) > series.values.size() && !finite_part(series).empty()
             ? finite_part(series)
             : series;
}

}  // namespace

Finding curve_divergence(const Curve& curve, std::optional<int64_t> vocab) {
  Finding finding{"divergence of the curve", State::not_run, "", kDivergenceLimit, {}, ""};
  if (curve.train.empty() && curve.val.empty() && curve.grad_norm.empty()) {
    finding.measured = "no curve";
    finding.supply = "a curve of the training loss: trainer_state.json, CSV, JSONL or a log";
    return finding;
  }
  Signs signs;
  look_for_nonfinite(curve.train, "training loss", 1, signs);
  look_for_nonfinite(evaluated(curve.val), "val loss", 1, signs);
  look_for_nonfinite(curve.grad_norm, "gradient norm", 3, signs);
  look_for_high_level(curve, vocab, signs);
  look_for_rise(curve, signs);
  look_for_explosion(curve, signs);
  look_for_loss_scale(curve.loss_scale, signs);
  signs.conclude(fmt::format("nothing in {} training and {} val points", curve.train.values.size(),
                             curve.val.values.size()),
                 finding);
  return finding;
}

namespace {

// Of the values at the end that are exactly 0, how many; all of them if the first is.
std::size_t zeros_at_end(const Series& series) {
  std::size_t count = 0;
  while (count < series.values.size() && series.values[series.values.size() - 1 - count] == 0) {
    ++count;
  }
  return count;
}

// A loss of 0 is exact where other values have more digits, or where the run began with it.
void look_for_zero_loss(const Series& all, const char* name, Signs& signs) {
  const Series series = finite_part(all);
  const std::size_t zeros = zeros_at_end(series), n = series.values.size();
  if (zeros == 0) return;
  const bool from_the_first = zeros == n && n >= 2;
  if (from_the_first || (series.half_step == 0 && zeros >= 3)) {
    signs.fired.push_back(fmt::format("{} is exactly 0 at the last {} points{}", name, zeros,
                                      from_the_first ? ", from the first one on" : ""));
  } else if (series.half_step > 0) {
    signs.noted.push_back(
        fmt::format("{} is 0 to within the rounding of the log, {:g}", name, series.half_step));
  }
}

void look_for_zero_gradient(const Curve& curve, Signs& signs) {
  const Series norms = finite_part(curve.grad_norm), train = finite_part(curve.train);
  const std::size_t zeros = zeros_at_end(norms);
  if (zeros < 3) return;
  const bool loss_is_high = !train.empty() && late_level(train).value > 0.1;
  if (norms.half_step == 0 || loss_is_high || zeros == norms.values.size()) {
    signs.fired.push_back(fmt::format("gradient norm is 0 at the last {} points", zeros));
  } else {
    signs.noted.push_back("gradient norm is 0 to within the rounding of the log");
  }
}

void look_for_constant(const Series& all, Signs& signs) {
  constexpr std::size_t kFewest = 10;
  const Series series = finite_part(all);
  if (series.values.size() < kFewest || series.values.front() == 0) return;
  const auto [low, high] = std::minmax_element(series.values.begin(), series.values.end());
  if (*low != *high) return;
  signs.fired.push_back(
      fmt::format("training loss is {:g} at all {} points", *low, series.values.size()));
}

}  // namespace

Finding curve_degenerate(const Curve& curve) {
  Finding finding{"dead curve", State::not_run,
                  "no curve",   "loss or gradient norm exactly 0; a loss that never moves",
                  {},           ""};
  if (curve.train.empty() && curve.val.empty() && curve.grad_norm.empty()) return finding;
  Signs signs;
  look_for_zero_loss(curve.train, "training loss", signs);
  look_for_zero_loss(curve.val, "val loss", signs);
  look_for_zero_gradient(curve, signs);
  look_for_constant(curve.train, signs);
  signs.conclude("nothing is exactly 0", finding);
  return finding;
}

}  // namespace assay::verify::training
