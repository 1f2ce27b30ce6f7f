#include "verify/training/decision.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "golden/contract/error.h"
#include "verify/training/curve_checks.h"

namespace assay::verify::training {

std::string state_name(State state) {
  switch (state) {
    case State::quiet:
      return "quiet";
    case State::fired:
      return "fired";
    case State::noted:
      return "noted";
    case State::not_run:
      return "not run";
  }
  return "not run";
}

std::string verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::insufficient:
      return "INSUFFICIENT";
    case Verdict::leak_structural:
      return "LEAK (structural)";
    case Verdict::leak_labels:
      return "LEAK (labels)";
    case Verdict::shift_error:
      return "SHIFT ERROR";
    case Verdict::leak_behavioural:
      return "LEAK (behavioural)";
    case Verdict::eval_contamination:
      return "EVAL CONTAMINATION";
    case Verdict::diverging:
      return "DIVERGING";
    case Verdict::degenerate:
      return "DEGENERATE";
    case Verdict::overfit:
      return "OVERFIT";
    case Verdict::leak_suspected:
      return "LEAK SUSPECTED";
    case Verdict::underfit:
      return "UNDERFIT";
    case Verdict::healthy:
      return "HEALTHY";
  }
  return "INSUFFICIENT";
}

int verdict_exit_code(Verdict verdict) {
  if (verdict == Verdict::healthy) return 0;
  return verdict == Verdict::insufficient || verdict == Verdict::leak_suspected ? 3 : 1;
}

namespace {

class Table {
 public:
  Table(const Evidence& evidence, Judgement& judgement)
      : evidence_(evidence), judgement_(judgement) {}

  void decide() {
    leaks();
    contaminations();
    states();
    memories();
    if (fired("excess over the oracle")) match(Verdict::underfit, "excess over the oracle");
    if (fired("val above the oracle")) curve_above_oracle();
    if (matches_.empty()) return rest();
    judgement_.verdict = matches_.front().verdict;
    judgement_.reason = matches_.front().reason;
    for (const Flag& later : matches_) {
      const auto same = [&](const Flag& flag) { return flag.verdict == later.verdict; };
      if (later.verdict == judgement_.verdict ||
          std::any_of(judgement_.flags.begin(), judgement_.flags.end(), same)) {
        continue;
      }
      judgement_.flags.push_back(later);
    }
    say_of_the_verdict();
  }

 private:
  const Finding& find(const std::string& name) const {
    const auto found = std::find_if(judgement_.findings.begin(), judgement_.findings.end(),
                                    [&](const Finding& finding) { return finding.name == name; });
    ASSAY_CHECK(found != judgement_.findings.end(), name);
    return *found;
  }
  bool fired(const std::string& name) const { return find(name).state == State::fired; }
  bool ran(const std::string& name) const { return find(name).state != State::not_run; }

  void match(Verdict verdict, const std::string& name, const std::string& prefix = "") {
    const Finding& finding = find(name);
    std::string reason = prefix + finding.measured;
    if (!finding.details.empty()) reason += "; " + finding.details.front();
    matches_.push_back({verdict, reason});
  }

  // Rows 2 to 4.
  void leaks() {
    if (fired("structural detectors")) match(Verdict::leak_structural, "structural detectors");
    if (fired("labels and logits")) match(Verdict::leak_labels, "labels and logits");
    if (fired("normalisation")) match(Verdict::leak_labels, "normalisation");
    if (fired("recomputed loss")) match(Verdict::leak_labels, "recomputed loss");
    if (fired("offset profile")) match(Verdict::shift_error, "offset profile");
    if (counts_nothing()) return;
    if (fired("code length of fresh") && evidence_.fresh_is.empty()) {
      match(Verdict::leak_behavioural, "code length of fresh", "fresh tokens are beaten: ");
    }
    if (fired("prequential code length")) {
      match(Verdict::leak_behavioural, "prequential code length",
            "first-epoch batches are beaten before their own update: ");
    }
  }

  // Losses that are exactly 0, and were from the first step on, are those of no token: a mask left
  // none. What a leak brings down begins at an untrained model's loss.
  bool counts_nothing() const {
    const auto is_zero = [](double loss) { return loss == 0; };
    const std::vector<double>& curve = evidence_.curve.train.values;
    return curve.size() >= 2 && std::all_of(curve.begin(), curve.end(), is_zero) &&
           std::all_of(evidence_.sets.begin(), evidence_.sets.end(), [&](const TokenSet& set) {
             return std::all_of(set.losses.begin(), set.losses.end(), is_zero);
           });
  }

  // Row 5, and what of it nothing can decide without fresh tokens.
  void contaminations() {
    if (counts_nothing()) return;
    const bool fresh_quiet =
        ran("code length of fresh") && !fired("code length of fresh") && evidence_.fresh_is.empty();
    if (fired("code length of val") &&
        (fresh_quiet || !ran("code length of fresh") || !evidence_.fresh_is.empty())) {
      match(fresh_quiet ? Verdict::eval_contamination : Verdict::leak_suspected,
            "code length of val",
            fresh_quiet ? "val is beaten and fresh is not: "
                        : "val is beaten, by a leak or by contamination; fresh tokens decide: ");
    }
    if (fresh_quiet && fired("contamination")) {
      match(Verdict::eval_contamination, "contamination");
    }
    if (fresh_quiet && !evidence_.shared_with_train.empty()) {
      matches_.push_back({Verdict::eval_contamination, evidence_.shared_with_train.front()});
    }
    if (!ran("code length of fresh") && fired("val below the oracle")) {
      match(Verdict::leak_suspected, "val below the oracle",
            "no causal model reaches that on tokens that it has not seen: ");
    }
  }

  // Rows 6 and 7.
  void states() {
    for (const char* name : {"divergence of the curve", "divergence of the losses"}) {
      if (fired(name)) match(Verdict::diverging, name);
    }
    const Finding& divergence = find("divergence of the curve");
    if (divergence.state == State::noted) judgement_.notes.push_back(divergence.measured);
    for (const char* name : {"dead curve", "dead output"}) {
      if (fired(name)) match(Verdict::degenerate, name);
    }
  }

  // Rows 8 and 9. Per-token losses know better than curves.
  void memories() {
    if (ran("gap")) {
      if (fired("gap")) match(Verdict::overfit, "gap");
      for (const char* name : {"rise of val", "gap of the curves"}) {
        if (fired("gap") || !fired(name)) continue;
        judgement_.notes.push_back(
            fmt::format("{}, yet these losses have no gap: {}", name, find(name).measured));
      }
    } else {
      if (fired("rise of val")) match(Verdict::overfit, "rise of val");
      if (fired("gap of the curves")) match(Verdict::overfit, "gap of the curves");
    }
    if (fired("counting bound")) {
      match(Verdict::leak_suspected, "counting bound", "more than the parameters can hold: ");
    }
  }

  // Row 10 of a curve. The oracle of the tokens themselves knows better than that of a curve.
  void curve_above_oracle() {
    if (!judgement_.excess[kFresh]) return match(Verdict::underfit, "val above the oracle");
    if (fired("excess over the oracle")) return;
    judgement_.notes.push_back("the curve's val is above the oracle, yet these losses are not: " +
                               find("val above the oracle").measured);
  }

  // No statistic fired: row 1 where evidence is missing, else row 11.
  void rest() {
    const std::string missing = what_is_missing();
    if (!missing.empty()) {
      judgement_.verdict = Verdict::insufficient;
      judgement_.reason = missing;
      if (low_on_both()) {
        judgement_.notes.push_back(
            "training and val loss are both near 0: an easy source, a leak and contamination look "
            "alike; only an oracle and fresh tokens tell them apart");
      }
      return;
    }
    judgement_.verdict = Verdict::healthy;
    const Mean& excess = *judgement_.excess[kFresh];
    const double sigmas = sigmas_of(kSigmas, excess.freedom);
    judgement_.reason = fmt::format(
        "fresh tokens cost {:.4g} nats over the oracle, between {:.4g} and {:.4g}; no gap",
        excess.value, excess.value - sigmas * excess.error, excess.value + sigmas * excess.error);
    judgement_.notes.push_back("no leak found is not no leak: " + power_text());
  }

  std::string what_is_missing() const {
    const auto& sets = evidence_.sets;
    if (!evidence_.oracle_problem.empty()) {
      return "the oracle is not of these tokens: " + evidence_.oracle_problem;
    }
    if (!evidence_.fresh_is.empty()) {
      return fmt::format("the fresh set is in {}: it is not fresh", evidence_.fresh_is);
    }
    if (sets[kFresh].empty()) return "no fresh tokens: leaks and contamination cannot be told";
    if (sets[kFresh].oracle.empty()) return "no oracle for the fresh tokens: leaks cannot be told";
    for (const char* name :
         {"code length of fresh", "code length of val", "gap", "contamination"}) {
      if (!ran(name)) return fmt::format("{} did not run: {}", name, find(name).measured);
    }
    for (const char* name : {"recomputed loss", "offset profile"}) {
      if (find(name).state == State::noted) return find(name).measured;
    }
    const std::optional<Mean>& excess = judgement_.excess[kFresh];
    if (!excess || !excess->has_error()) return "too few fresh rows for an error of their mean";
    const double half = sigmas_of(kSigmas, excess->freedom) * excess->error;
    if (half > 0.05 || excess->tokens < fewest_tokens()) {
      const double spread = excess->error * std::sqrt(static_cast<double>(excess->tokens));
      const double needed = std::max(std::pow(kSigmas * spread / 0.05, 2), 1.0 * fewest_tokens());
      return fmt::format(
          "too few fresh tokens: {} tell the excess to +- {:.2g}, expected 0.05; about {:.3g} "
          "would",
          excess->tokens, half, needed);
    }
    return "";
  }

  // So many that a gain of 0.05 nats a token, without any spread, is seen.
  int64_t fewest_tokens() const {
    return static_cast<int64_t>(
        tokens_needed(0.05, 0, std::log(1 / evidence_.alpha) + std::log(2.0), 0));
  }

  bool low_on_both() const {
    const auto low = [](const Series& series) {
      return !series.empty() && std::isfinite(series.values.back()) &&
             std::abs(series.values.back()) < 0.1;
    };
    return low(evidence_.curve.train) && low(evidence_.curve.val);
  }

  // The smallest gain in every token that would have been seen with probability 0.99.
  std::string power_text() const {
    const Mean& excess = *judgement_.excess[kFresh];
    const double tokens = static_cast<double>(excess.tokens);
    const double spread = excess.error * std::sqrt(tokens);
    const double threshold = std::log(1 / evidence_.alpha) + std::log(2.0);
    double low = 1e-6, high = 20;
    for (int i = 0; i < 60; ++i) {
      const double middle = std::sqrt(low * high);
      (tokens_needed(middle, spread, threshold, 2.33) > tokens ? low : high) = middle;
    }
    return fmt::format("a leak that gains {:.2g} nats a token over the oracle would have been seen",
                       high);
  }

  void say_of_the_verdict() {
    const Verdict verdict = judgement_.verdict;
    if (verdict == Verdict::overfit) {
      const std::optional<Mean>& train = judgement_.excess[kTrain];
      const bool solved =
          train ? train->value < 0.05
                : !evidence_.curve.train.empty() && evidence_.curve.train.values.back() < 0.1;
      if (solved && val_still_falls(evidence_.curve)) {
        judgement_.notes.push_back(
            "train is solved, val is not yet and still falls: it may generalise late");
      }
      if (!ran("code length of fresh")) {
        judgement_.notes.push_back(
            "leaks were not tested: a model that leaks and overfits has such curves, too");
      }
    }
    if (verdict == Verdict::eval_contamination) {
      judgement_.notes.push_back("val and fresh are taken to be of the same law");
    }
    if (!evidence_.fresh_is.empty()) {
      judgement_.notes.push_back(
          fmt::format("most rows of fresh are in {}: nothing is said of it", evidence_.fresh_is));
    }
  }

  const Evidence& evidence_;
  Judgement& judgement_;
  std::vector<Flag> matches_;
};

}  // namespace

void decide(const Evidence& evidence, Judgement& judgement) { Table(evidence, judgement).decide(); }

}  // namespace assay::verify::training
