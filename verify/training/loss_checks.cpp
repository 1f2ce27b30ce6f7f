// Is the loss a loss: of probabilities, of these labels, of the next token?
#include "verify/training/token_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "verify/training/counted.h"

namespace assay::verify::training {
namespace {

// How far a sum of probabilities of such numbers may be from 1.
double sum_tolerance(const Resolution& resolution) {
  return 1e-4 + 8 * resolution.relative + 2 * resolution.absolute;
}

// What the losses of a curve that are below 0 are, by series.
std::vector<std::string> negative_curves(const Curve& curve) {
  std::vector<std::string> found;
  for (const auto& [name, series] :
       {std::pair{"training", &curve.train}, {"val", &curve.val}, {"fresh", &curve.fresh}}) {
    const double least = -1e-4 - series->half_step;
    std::size_t count = 0, first = 0;
    for (std::size_t i = 0; i < series->values.size(); ++i) {
      if (!std::isfinite(series->values[i]) || series->values[i] >= least) continue;
      if (count++ == 0) first = i;
    }
    if (count == 0) continue;
    found.push_back(fmt::format(
        "curve: {} losses of {} are below 0, the first {:.4g} at step {:g}: probabilities above 1",
        count, name, series->values[first], series->steps[first]));
  }
  return found;
}

}  // namespace

Finding label_check(const Evidence& evidence) {
  Finding finding{"labels and logits",
                  State::not_run,
                  "no live model (--probe)",
                  "logits do not move with the labels",
                  {},
                  ""};
  if (!evidence.labels) return finding;
  finding.measured = evidence.labels->measured;
  finding.state = !evidence.labels->is_told ? State::noted
                  : evidence.labels->moved  ? State::fired
                                            : State::quiet;
  return finding;
}

Finding normalisation(const Evidence& evidence) {
  Finding finding = no_tokens("normalisation", "sum of probabilities 1, no loss below 0");
  const std::vector<std::string> of_curve = negative_curves(evidence.curve);
  if (all_empty(evidence) && of_curve.empty()) return finding;
  finding.state = State::quiet;
  finding.measured = "no loss is below 0";
  finding.details = of_curve;
  if (!of_curve.empty()) finding.state = State::fired;
  for (std::size_t s = 0; s < kSetNames.size(); ++s) {
    const TokenSet& set = evidence.sets[s];
    const double least = -1e-4 - set.loss_resolution.slack(1);
    const int64_t negative =
        count_tokens(set, [&](std::size_t i) { return set.losses[i] < least; });
    if (negative > 0) {
      finding.state = State::fired;
      finding.details.push_back(
          fmt::format("{}: {} losses are below 0: probabilities above 1", kSetNames[s], negative));
    }
    double worst = 0;
    for (std::size_t i = 0; i < set.probability_sums.size(); ++i) {
      const double off = std::abs(set.probability_sums[i] - 1);
      if (!(off <= worst)) worst = off;
    }
    const double tolerance = sum_tolerance(resolution_of(set.probability_sums));
    if (!(worst <= tolerance)) {
      finding.state = State::fired;
      finding.details.push_back(
          fmt::format("{}: a sum of probabilities is off 1 by {:.3g} > {:.3g}", kSetNames[s], worst,
                      tolerance));
    } else if (!set.probability_sums.empty()) {
      finding.measured = fmt::format("sums of probabilities within {:.2g} of 1", worst);
    }
    if (!set.logits || !set.logits->are_log_probs) continue;
    const double off = offset_profile(*set.logits, std::nullopt, 0).worst_sum;
    if (!(off <= sum_tolerance(resolution_of(set.logits->values)))) {
      finding.state = State::fired;
      finding.details.push_back(fmt::format("{}: exp of the log probabilities sums to 1 {} {:.3g}",
                                            kSetNames[s], "+-", off));
    }
  }
  if (finding.state == State::fired) {
    finding.measured = finding.details.front();
    finding.details.erase(finding.details.begin());
  }
  return finding;
}

Finding recomputed_loss(const Evidence& evidence) {
  Finding finding{"recomputed loss",
                  State::not_run,
                  "no logits beside losses",
                  "reported = recomputed from the logits",
                  {},
                  ""};
  for (std::size_t s = 0; s < kSetNames.size(); ++s) {
    const TokenSet& set = evidence.sets[s];
    if (!set.logits || set.empty()) continue;
    const std::vector<double> again = next_token_losses(*set.logits);
    if (again.size() != set.size()) continue;
    double worst = 0, lower = 0, tokens = 0;
    for (std::size_t i = 0; i < again.size(); ++i) {
      if (!set.is_counted(i) || !std::isfinite(again[i])) continue;
      const double off = again[i] - set.losses[i];
      if (!(std::abs(off) <= worst)) worst = std::abs(off);
      lower += off;
      ++tokens;
    }
    const Resolution of_logits = resolution_of(set.logits->values);
    const double tolerance = 1e-3 + 4 * set.loss_resolution.slack(10) + 4 * of_logits.slack(20);
    finding.measured = fmt::format("{}: off by {:.3g} at most, by {:.3g} on average", kSetNames[s],
                                   worst, tokens > 0 ? lower / tokens : 0);
    finding.limit = fmt::format("off by <= {:.3g}", tolerance);
    const bool is_lower = tokens > 0 && lower / tokens > tolerance;
    if (worst <= tolerance) {
      finding.state = finding.state == State::fired ? finding.state : State::quiet;
    } else if (is_lower) {
      finding.state = State::fired;
      finding.details.push_back(
          "the reported losses are lower than the logits give: the labels reach the loss by "
          "another way");
      return finding;
    } else {
      finding.state = State::noted;
      finding.details.push_back("the reported losses are others than the logits give");
    }
  }
  return finding;
}

Finding offset_check(const Evidence& evidence, std::optional<OffsetProfile>& profile) {
  Finding finding{"offset profile",
                  State::not_run,
                  "no logits",
                  "the reported loss is l(1), the next token's",
                  {},
                  "logits [N,T,V] with the tokens of a few rows, and their reported loss"};
  for (std::size_t s = 0; s < kSetNames.size(); ++s) {
    const TokenSet& set = evidence.sets[s];
    if (!set.logits) continue;
    std::optional<double> reported = set.reported_loss;
    const bool of_all =
        (set.logits->positions - 1) * set.logits->rows == static_cast<int64_t>(set.size());
    if (!reported && of_all) {
      const std::optional<Mean> mean = mean_loss(set);
      if (mean && counted_tokens(set) == static_cast<int64_t>(set.size())) reported = mean->value;
    }
    const double level = reported ? std::abs(*reported) : 1;
    // A mean over the same tokens differs by rounding; one decimal more than the log shows.
    const double tolerance = 2e-3 * std::max(level, 0.5) + set.loss_resolution.slack(level);
    profile = offset_profile(*set.logits, reported, tolerance);
    finding.supply.clear();
    std::string text;
    for (int k = kFirstOffset; k <= kLastOffset; ++k) {
      text += fmt::format("{}l({}) = {:.4g}", text.empty() ? "" : ", ", k, profile->loss(k));
    }
    finding.details.push_back(fmt::format("{}: {}", kSetNames[s], text));
    if (!reported) {
      finding.measured = fmt::format("l(1) = {:.4g}; no reported loss", profile->loss(1));
      finding.supply = "the reported loss of these tokens, reported_loss";
      continue;
    }
    // Hugging Face's (T-1)/T is no other offset.
    const double t = static_cast<double>(set.logits->positions);
    const bool scaled = std::abs(*reported * t / (t - 1) - profile->loss(1)) <= tolerance;
    if (profile->matches && !scaled) {
      finding.state = State::fired;
      finding.measured = fmt::format("{}: the reported loss {:.4g} is l({}), not l(1) = {:.4g}",
                                     kSetNames[s], *reported, *profile->matches, profile->loss(1));
      return finding;
    }
    finding.state = profile->is_next || scaled ? State::quiet : State::noted;
    finding.measured = fmt::format("{}: reported {:.4g}, l(1) = {:.4g}{}", kSetNames[s], *reported,
                                   profile->loss(1),
                                   profile->is_next ? ""
                                   : scaled         ? ", x (T-1)/T"
                                                    : ": no one offset gives it");
  }
  return finding;
}

}  // namespace assay::verify::training
