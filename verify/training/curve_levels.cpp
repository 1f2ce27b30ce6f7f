// Curves beside each other, and beside the oracle.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "verify/training/counted.h"
#include "verify/training/curve_checks.h"
#include "verify/training/level.h"

namespace assay::verify::training {
namespace {

double gap_limit(double level) { return std::max(0.05, 0.02 * std::abs(level)); }

// What a loss that may be scaled can be more than it says: x T/(T-1), T at least 16 where unknown.
double scale_allowance(const Curve& curve, std::optional<int64_t> positions, double level) {
  constexpr double kLeastPositions = 16;
  if (!curve.may_be_scaled) return 0;
  const double t = positions ? static_cast<double>(*positions) : kLeastPositions;
  return t > 1 ? std::abs(level) / (t - 1) : 0;
}

struct Gap {
  Level seen, unseen;

  double value() const { return unseen.value - seen.value; }
  double error() const { return std::hypot(seen.error, unseen.error); }
  double lower() const { return value() - kSigmas * error(); }
};

// Over the last part of the steps.
Gap gap_of(const Series& train, const Series& val, double share) {
  return {late_level(train, share), late_level(val, share)};
}

// Whether the last value is as low as any before: what stood above it shortly before was a spike.
bool is_recovered(const Series& val, const Level& late) {
  const double lowest = *std::min_element(val.values.begin(), val.values.end() - 1);
  return val.values.size() >= 4 && val.values.back() <= lowest + 0.01 &&
         late.value - val.values.back() > gap_limit(lowest);
}

std::string recovered_text(const Series& val) {
  return fmt::format("the last val loss, {:.4g}, is as low as any: the rise before it recovered",
                     val.values.back());
}

}  // namespace

Finding curve_gap(const Curve& curve, std::optional<int64_t> positions) {
  Finding finding{"gap of the curves", State::not_run, "", "", {}, ""};
  const Series train = finite_part(curve.train), val = finite_part(curve.val);
  if (train.empty() || val.empty()) {
    finding.measured = train.empty() ? "no training loss" : "no val loss";
    finding.supply = "training and val loss over the steps";
    return finding;
  }
  const Gap late = gap_of(train, val, 0.1);
  const double scale = scale_allowance(curve, positions, late.seen.value);
  const double limit = gap_limit(late.unseen.value) + scale;
  // Of few points the noise is unknown: the gap then has to be twice as large.
  const bool known = late.seen.is_known && late.unseen.is_known;
  Gap shown = late;
  for (const double share : {0.2, 0.4}) {
    if (late.lower() > limit || late.value() <= limit || is_recovered(val, late.unseen)) break;
    const Gap wide = gap_of(train, val, share);
    if (wide.lower() > shown.lower()) shown = wide;
  }
  finding.measured =
      fmt::format("val {:.4g} - training {:.4g} = {:.4g} +- {:.2g}", shown.unseen.value,
                  shown.seen.value, shown.value(), shown.error());
  finding.limit = fmt::format("gap - 4.9 SE > {:.3g}{}", known ? limit : 2 * limit,
                              known ? "" : " (twice, of less than 4 points)");
  if (scale > 0) {
    finding.details.push_back(fmt::format(
        "the limit allows {:.3g} for a training loss that Hugging Face may report x (T-1)/T{}",
        scale, positions ? "" : ", T >= 16; --seq says which T"));
  }
  const bool fires = shown.lower() > (known ? limit : 2 * limit);
  finding.state = fires ? State::fired : State::quiet;
  if (fires && is_recovered(val, late.unseen)) {
    finding.state = State::noted;
    finding.details.push_back(recovered_text(val));
  }
  return finding;
}

Finding val_rise(const Curve& curve) {
  constexpr std::size_t kFewest = 4;
  Finding finding{"rise of val", State::not_run, "", "", {}, ""};
  const Series train = finite_part(curve.train), val = finite_part(curve.val);
  if (val.values.size() < kFewest) {
    finding.measured =
        fmt::format("{} val points, expected {} at least", val.values.size(), kFewest);
    finding.supply = "val loss over the steps";
    return finding;
  }
  const std::size_t width = std::max<std::size_t>(1, val.values.size() / 10);
  const Level late = late_level(val), best = best_level(val, width);
  // The best of n is lower than its mean by up to sqrt(2 log n) errors.
  const double chosen = std::sqrt(2 * std::log(static_cast<double>(val.values.size())));
  const double margin = (kSigmas + chosen) * std::hypot(late.error, best.error);
  const double rise = late.value - best.value, limit = gap_limit(best.value);
  finding.measured =
      fmt::format("val {:.4g} at step {:g}, {:.4g} at the end: {:.4g} +- {:.2g}", best.value,
                  val.steps[best.first], late.value, rise, std::hypot(late.error, best.error));
  finding.limit =
      fmt::format("rise - {:.2g} > {:.3g}, and the training loss did not rise", margin, limit);
  if (best.value > 0) {
    finding.details.push_back(fmt::format("Prechelt's GL = {:.1f}", 100 * rise / best.value));
  }
  finding.state = State::quiet;
  if (rise - margin <= limit) return finding;
  if (is_recovered(val, late)) {
    finding.state = State::noted;
    finding.details.push_back(recovered_text(val));
    return finding;
  }
  if (train.empty()) {
    finding.state = State::noted;
    finding.details.push_back("no training loss: it may be the whole run that went bad");
    return finding;
  }
  const Level then = level_near(train, val.steps[best.first], std::max<std::size_t>(3, width));
  const Level now = late_level(train);
  const bool train_rose = now.value > then.value + std::max(0.05, kSigmas * now.error);
  finding.state = train_rose ? State::noted : State::fired;
  if (train_rose) finding.details.push_back("the training loss rose as well");
  return finding;
}

bool val_still_falls(const Curve& curve) {
  const Series val = finite_part(curve.val);
  const std::size_t n = val.values.size();
  if (n < 8) return false;
  Series earlier = val;
  earlier.steps.resize(n - n / 4);
  earlier.values.resize(n - n / 4);
  const Level before = late_level(earlier), now = late_level(val);
  return before.value - now.value > std::max(0.02, kSigmas * std::hypot(before.error, now.error));
}

Finding prequential(const Evidence& evidence, double threshold) {
  Finding finding{"prequential code length", State::not_run, "", "", {}, ""};
  const Series train = finite_part(evidence.curve.train);
  const auto stop = [&](const std::string& why, const std::string& supply) {
    finding.measured = why;
    finding.supply = supply;
    return finding;
  };
  if (train.empty()) return stop("no training loss", "");
  if (!evidence.rate || !evidence.rate->constant) {
    return stop("needs an oracle of constant probability", "--oracle uniform:.. or canaries:..");
  }
  if (!evidence.tokens_per_step) return stop("tokens a step are unknown", "--tokens-per-step");
  if (evidence.curve.epoch.empty() && !evidence.one_epoch) {
    return stop("which steps are of the first epoch is unknown", "--one-epoch, if all are");
  }
  if (evidence.curve.may_be_scaled && !evidence.positions) {
    return stop("the loss may be x (T-1)/T with unknown T", "--seq");
  }
  double scale = 1;
  if (evidence.curve.may_be_scaled) {
    scale = static_cast<double>(*evidence.positions) /
            std::max(1.0, static_cast<double>(*evidence.positions - 1));
  }
  double sum = 0, highest = 0, step = 0;
  bool any = false;
  const auto tokens = static_cast<double>(*evidence.tokens_per_step);
  const Series& epoch = evidence.curve.epoch;
  for (std::size_t i = 0; i < train.values.size(); ++i) {
    if (!evidence.one_epoch) {
      const auto at = std::lower_bound(epoch.steps.begin(), epoch.steps.end(), train.steps[i]);
      if (at == epoch.steps.end()) break;
      if (epoch.values[static_cast<std::size_t>(at - epoch.steps.begin())] > 1) break;
    }
    any = true;
    const double slack = std::max(train.half_step, 1e-5);
    sum += tokens * (evidence.rate->nats - scale * train.values[i] - slack);
    if (sum > highest) {
      if (highest < threshold && sum >= threshold) step = train.steps[i];
      highest = sum;
    }
  }
  if (!any) return stop("no step of the first epoch", "a curve from the first step on");
  finding.measured = fmt::format("{:.4g} nats gained at most", highest);
  finding.limit = fmt::format(">= {:.4g} nats", threshold);
  finding.state = highest >= threshold ? State::fired : State::quiet;
  if (finding.state == State::fired) finding.details.push_back(fmt::format("at step {:g}", step));
  return finding;
}

namespace {

// The lower, or the upper, of val and fresh at the end of the curve.
std::optional<Level> late_unseen(const Curve& curve, bool lower) {
  std::optional<Level> chosen;
  for (const Series* all : {&curve.val, &curve.fresh}) {
    const Series series = finite_part(*all);
    if (series.empty()) continue;
    const Level late = late_level(series);
    if (!chosen || (late.value < chosen->value) == lower) chosen = late;
  }
  return chosen;
}

constexpr int64_t kFewestValTokens = 512;  // where nobody says of how many val is

std::optional<int64_t> tokens_of_val(const Evidence& evidence) {
  if (evidence.val_tokens) return evidence.val_tokens;
  const int64_t counted = counted_tokens(evidence.sets[kVal]);
  return counted > 0 ? std::optional(counted) : std::nullopt;
}

// Of the oracle's own mean over the tokens of val, which need not be as surprising as the source.
// Where the spread is unknown it is taken to be 1 nat, or the rate if that is less.
double error_of_tokens(const Evidence& evidence) {
  const OracleRate& rate = *evidence.rate;
  if (rate.constant) return 0;
  const double spread = rate.spread > 0 ? rate.spread : std::min(1.0, rate.nats);
  const auto tokens = static_cast<double>(tokens_of_val(evidence).value_or(kFewestValTokens));
  return spread / std::sqrt(tokens);
}

}  // namespace

Finding curve_below_oracle(const Evidence& evidence) {
  Finding finding{"val below the oracle", State::not_run, "", "", {}, ""};
  const std::optional<Level> late = late_unseen(evidence.curve, true);
  if (!late) {
    finding.measured = "no val loss in a curve";
    return finding;
  }
  if (!evidence.rate) {
    finding.measured = "no oracle";
    finding.supply = "--oracle: the source of the tokens";
    return finding;
  }
  const double scale = scale_allowance(evidence.curve, evidence.positions, late->value);
  const double drawn = kSigmas * error_of_tokens(evidence);
  const double limit =
      gap_limit(evidence.rate->nats) + kSigmas * evidence.rate->error + scale + drawn;
  const double below = evidence.rate->nats - late->value;
  finding.measured = fmt::format("oracle {:.4g} - late val {:.4g} = {:.4g} +- {:.2g}",
                                 evidence.rate->nats, late->value, below, late->error);
  finding.limit = fmt::format("difference - 4.9 SE > {:.3g}", limit);
  if (drawn > 0) {
    finding.details.push_back(
        tokens_of_val(evidence)
            ? fmt::format("the limit allows {:.3g} for the draw of {} tokens of val", drawn,
                          *tokens_of_val(evidence))
            : fmt::format("the limit allows {:.3g} for a val of {} tokens; --val-size says of how "
                          "many",
                          drawn, kFewestValTokens));
  }
  finding.state = below - kSigmas * late->error > limit ? State::fired : State::quiet;
  return finding;
}

Finding curve_above_oracle(const Evidence& evidence) {
  Finding finding{"val above the oracle", State::not_run, "", "", {}, ""};
  const std::optional<Level> late = late_unseen(evidence.curve, false);
  if (!late || !evidence.rate) {
    finding.measured = !late ? "no val loss in a curve" : "no oracle";
    return finding;
  }
  // Of short rows the first tokens, which are the hardest, count for more.
  const double oracle = std::max(evidence.rate->nats, evidence.rate->of_rows);
  const double limit = std::max(0.1, 0.02 * oracle) + kSigmas * evidence.rate->error;
  const double above = late->value - oracle;
  finding.measured = fmt::format("late val {:.4g} - oracle {:.4g} = {:.4g} +- {:.2g}", late->value,
                                 oracle, above, late->error);
  finding.limit = fmt::format("difference - 4.9 SE > {:.3g}", limit);
  finding.state = above - kSigmas * late->error > limit ? State::fired : State::quiet;
  return finding;
}

}  // namespace assay::verify::training
