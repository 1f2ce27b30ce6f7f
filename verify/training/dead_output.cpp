// Losses that are no numbers, and outputs that do not depend on what came before.
#include "verify/training/token_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "verify/training/counted.h"
#include "verify/training/oracle_check.h"

namespace assay::verify::training {

Finding token_divergence(const Evidence& evidence) {
  Finding finding =
      no_tokens("divergence of the losses", "NaN or infinite; mean of train > log V + 0.5");
  if (all_empty(evidence)) return finding;
  finding.state = State::quiet;
  finding.measured = "all losses are finite";
  for (std::size_t s = 0; s < kSetNames.size(); ++s) {
    const TokenSet& set = evidence.sets[s];
    const int64_t bad =
        count_tokens(set, [&](std::size_t i) { return !std::isfinite(set.losses[i]); });
    if (bad == 0) continue;
    finding.state = State::fired;
    finding.measured = fmt::format("{}: {} of {} losses are NaN or infinite", kSetNames[s], bad,
                                   counted_tokens(set));
    return finding;
  }
  const std::optional<Mean> train = mean_loss(evidence.sets[kTrain]);
  if (!train || !evidence.vocab) return finding;
  const double limit = std::log(static_cast<double>(*evidence.vocab)) + 0.5;
  finding.measured = fmt::format("mean of train {:.4g}, log V + 0.5 = {:.4g}", train->value, limit);
  if (train->value > limit) finding.state = State::fired;
  return finding;
}

namespace {

// Whether every token has one loss wherever it stands, as where the output is constant.
struct Spread {
  double within = 0;     // variance of the values of one token, on average
  int64_t compared = 0;  // tokens that were seen before
};

Spread spread_within_tokens(const TokenSet& set, std::span<const double> values) {
  std::map<int32_t, std::array<double, 3>> seen;  // count, mean, sum of squares
  for (std::size_t i = 0; i < set.targets.size(); ++i) {
    if (!set.is_counted(i) || !std::isfinite(values[i])) continue;
    auto& [n, mean, square] = seen[set.targets[i]];
    const double off = values[i] - mean;
    n += 1;
    mean += off / n;
    square += off * (values[i] - mean);
  }
  Spread spread;
  double squares = 0;
  for (const auto& [token, sums] : seen) {
    squares += sums[2];
    spread.compared += static_cast<int64_t>(sums[0]) - 1;
  }
  if (spread.compared > 0) spread.within = squares / static_cast<double>(spread.compared);
  return spread;
}

// "" or what is constant. An oracle that is as constant is reached so, and a source without
// structure leaves nothing to be learned.
std::string constant_output(const TokenSet& set, const TokenStatistics& tokens) {
  constexpr int64_t kFewest = 256;
  constexpr double kTold = 1e-6;  // variance that an oracle has if it depends on the context
  if (set.targets.empty() || set.logits) return "";
  const Spread spread = spread_within_tokens(set, set.losses);
  const double rounding = set.loss_resolution.slack(1);
  if (spread.compared < kFewest || spread.within > std::max(1e-12, rounding * rounding)) return "";
  const bool structure = set.oracle.empty() ? tokens.pair_gain > 0.05
                                            : spread_within_tokens(set, set.oracle).within > kTold;
  if (!structure) return "";
  return "a token's loss is the same at every position: the output is constant";
}

std::string unigram_level(const Evidence& evidence) {
  constexpr double kNear = 0.02, kBetter = 0.05;  // nats
  const TokenSet& train = evidence.sets[kTrain];
  const TokenSet& fresh =
      evidence.sets[evidence.sets[kFresh].empty() ? std::size_t{kVal} : std::size_t{kFresh}];
  if (train.targets.empty() || fresh.targets.empty()) return "";
  const TokenStatistics seen = token_statistics(train), unseen = token_statistics(fresh);
  const std::optional<Mean> on_train = mean_loss(train), on_fresh = mean_loss(fresh);
  if (!on_train || !on_fresh) return "";
  const bool near = std::abs(on_train->value - seen.unigram_entropy) <= kNear &&
                    std::abs(on_fresh->value - unseen.unigram_entropy) <= kNear + on_fresh->error;
  if (!near) return "";
  const std::optional<Mean> excess = mean_excess(fresh);
  const bool more_to_learn = excess ? excess->value > kBetter : seen.pair_gain > kBetter;
  if (!more_to_learn) return "";
  return fmt::format("train {:.4g} and fresh {:.4g} are at the unigram entropy {:.4g}",
                     on_train->value, on_fresh->value, seen.unigram_entropy);
}

}  // namespace

Finding token_degenerate(const Evidence& evidence) {
  Finding finding = no_tokens(
      "dead output", "every loss exactly 0; constant output; within 0.02 of the unigram entropy");
  if (all_empty(evidence)) return finding;
  finding.state = State::quiet;
  finding.measured = "the output depends on the context";
  const auto fire = [&](const std::string& what) {
    finding.state = State::fired;
    finding.measured = what;
    return finding;
  };
  for (std::size_t s = 0; s < kSetNames.size(); ++s) {
    const TokenSet& set = evidence.sets[s];
    const int64_t all = counted_tokens(set);
    if (all > 1 && count_tokens(set, [&](std::size_t i) { return set.losses[i] == 0; }) == all) {
      return fire(fmt::format("{}: every loss is exactly 0", kSetNames[s]));
    }
    const bool nothing_to_learn = evidence.rate && evidence.rate->constant;
    if (set.logits && !nothing_to_learn && set.logits->rows * set.logits->positions > 1 &&
        offset_profile(*set.logits, std::nullopt, 0).variance < 1e-12) {
      return fire(fmt::format("{}: the logits are the same at every position", kSetNames[s]));
    }
    const std::string constant = constant_output(set, token_statistics(set));
    if (!constant.empty()) return fire(fmt::format("{}: {}", kSetNames[s], constant));
  }
  const std::string unigram = unigram_level(evidence);
  return unigram.empty() ? finding : fire(unigram);
}

}  // namespace assay::verify::training
