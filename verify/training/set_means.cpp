// The means of the three sets beside each other: gap, contamination, excess.
#include "verify/training/token_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "verify/training/counted.h"

namespace assay::verify::training {
namespace {

constexpr double kLn2 = 0.6931471805599453;
// Nats a token: where losses take few values their standard error may be next to nothing.
constexpr double kLeastContamination = 1e-3;

}  // namespace

std::optional<Mean> mean_loss(const TokenSet& set) {
  if (set.empty() || counted_tokens(set) == 0 || !is_finite(set)) return std::nullopt;
  return mean_of(set.losses, set.counted, set.positions);
}

std::optional<Mean> mean_excess(const TokenSet& set) {
  if (set.oracle.empty() || counted_tokens(set) == 0 || !is_finite(set)) return std::nullopt;
  std::vector<double> excess(set.size(), 0.0);
  for (std::size_t i = 0; i < set.size(); ++i) {
    if (set.is_counted(i)) excess[i] = set.losses[i] - set.oracle[i];
  }
  return mean_of(excess, set.counted, set.positions);
}

Finding token_gap(const Evidence& evidence, std::optional<Mean>& gap) {
  Finding finding = no_tokens("gap", "");
  const Set other = evidence.sets[kFresh].empty() ? kVal : kFresh;
  const TokenSet& train = evidence.sets[kTrain];
  const TokenSet& unseen = evidence.sets[other];
  if (train.empty() || unseen.empty()) {
    finding.supply = train.empty() ? "per-token losses of training tokens, --train-losses"
                                   : "per-token losses of fresh tokens, --fresh-losses";
    return finding;
  }
  std::optional<Mean> low = mean_excess(train), high = mean_excess(unseen);
  const bool over_oracle = low && high && evidence.oracle_problem.empty();
  if (!over_oracle) {
    low = mean_loss(train);
    high = mean_loss(unseen);
  }
  if (!low || !high) {
    finding.measured = "losses are not finite";
    return finding;
  }
  gap = difference(*high, *low);
  const std::optional<Mean> loss = mean_loss(unseen);
  const double oracle = over_oracle ? std::max(0.0, loss->value - high->value) : loss->value;
  const double limit = std::max(0.05, 0.02 * oracle);
  const double sigmas = sigmas_of(kSigmas, gap->freedom);
  finding.measured = fmt::format("{} - train: {:.4g} - {:.4g} = {:.4g} +- {:.2g} nats a token{}",
                                 kSetNames[other], high->value, low->value, gap->value, gap->error,
                                 over_oracle ? " over the oracle" : "");
  finding.limit = fmt::format("gap - {:.3g} SE > {:.3g}", sigmas, limit);
  if (!gap->has_error()) {
    finding.measured += "; too few rows for an error";
    finding.supply = "8 rows or more of each set";
    return finding;
  }
  finding.state = gap->value - sigmas * gap->error > limit ? State::fired : State::quiet;
  if (finding.state != State::fired) return finding;
  const double tokens = evidence.train_tokens ? static_cast<double>(*evidence.train_tokens)
                                              : static_cast<double>(low->tokens);
  const double bits = gap->value * tokens / kLn2;
  finding.details.push_back(
      fmt::format("{:.3g} bits memorised of {:.4g} training tokens{}", bits, tokens,
                  evidence.train_tokens ? "" : " that were evaluated (--train-size: of all)"));
  if (evidence.parameters) {
    finding.details.push_back(
        fmt::format("{:.3g} bits a parameter", bits / static_cast<double>(*evidence.parameters)));
  }
  return finding;
}

Finding contamination(const Evidence& evidence) {
  Finding finding = no_tokens("contamination", "");
  const std::optional<Mean> fresh = mean_excess(evidence.sets[kFresh]);
  const std::optional<Mean> val = mean_excess(evidence.sets[kVal]);
  if (!fresh || !val || !evidence.oracle_problem.empty()) {
    finding.measured = !evidence.oracle_problem.empty() ? "the oracle is not of these tokens"
                                                        : "needs val, fresh and their oracle";
    finding.supply = "per-token losses of val and fresh, and --oracle";
    return finding;
  }
  const Mean c = difference(*fresh, *val);
  const double chosen = evidence.checkpoints
                            ? std::sqrt(2 * std::log(static_cast<double>(*evidence.checkpoints)))
                            : 0;
  const double sigmas = sigmas_of(6 + chosen, c.freedom);
  finding.measured = fmt::format("fresh - val over the oracle: {:.4g} - {:.4g} = {:.4g} +- {:.2g}",
                                 fresh->value, val->value, c.value, c.error);
  double rounding = 0;  // what that of the losses could make
  for (const Set s : {kVal, kFresh}) {
    rounding += evidence.sets[s].loss_resolution.slack(mean_loss(evidence.sets[s])->value);
  }
  const double least = std::max(rounding, kLeastContamination);
  finding.limit = fmt::format("c - {:.3g} SE > {:.3g}", sigmas, least);
  if (!c.has_error()) {
    finding.measured += "; too few rows for an error";
    finding.supply = "8 rows or more of each set";
    return finding;
  }
  finding.state = c.value - sigmas * c.error > least ? State::fired : State::quiet;
  return finding;
}

Finding excess_check(const Evidence& evidence) {
  Finding finding = no_tokens("excess over the oracle", "");
  const Set set = evidence.sets[kFresh].oracle.empty() ? kVal : kFresh;
  const std::optional<Mean> excess = mean_excess(evidence.sets[set]);
  if (!excess || !evidence.oracle_problem.empty()) {
    finding.measured = !evidence.oracle_problem.empty() ? "the oracle is not of these tokens"
                                                        : "needs fresh tokens and their oracle";
    finding.supply = "per-token losses of fresh tokens, and --oracle";
    return finding;
  }
  const double sigmas = sigmas_of(kSigmas, excess->freedom);
  finding.measured = fmt::format("{}: {:.4g} +- {:.2g} nats a token", kSetNames[set], excess->value,
                                 excess->error);
  finding.limit = fmt::format("x - {:.3g} SE > 0.05", sigmas);
  if (!excess->has_error()) {
    finding.measured += "; too few rows for an error";
    finding.supply = "8 rows or more";
    return finding;
  }
  finding.state = excess->value - sigmas * excess->error > 0.05 ? State::fired : State::quiet;
  return finding;
}

}  // namespace assay::verify::training
