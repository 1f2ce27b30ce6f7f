// How much a model can have stored, and what it has of planted canaries.
#include "verify/training/token_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "verify/training/counted.h"

namespace assay::verify::training {
namespace {

constexpr double kLn2 = 0.6931471805599453;

}  // namespace

Finding counting_bound(const Evidence& evidence) {
  Finding finding{"counting bound", State::not_run, "", "", {}, ""};
  const auto stop = [&](const std::string& why, const std::string& supply) {
    finding.measured = why;
    finding.supply = supply;
    return finding;
  };
  if (!evidence.parameters) return stop("the number of parameters is unknown", "--parameters");
  double gain = 0, tokens = 0;  // nats a token over the oracle on the training set
  if (const std::optional<Mean> train = mean_excess(evidence.sets[kTrain]);
      train && evidence.oracle_problem.empty()) {
    gain = -train->value - evidence.sets[kTrain].loss_resolution.slack(train->value);
    tokens = static_cast<double>(train->tokens);
  } else if (evidence.rate && evidence.rate->constant && evidence.train_tokens &&
             !evidence.curve.train.empty()) {
    const Series& curve = evidence.curve.train;
    double last = curve.values.back();
    if (!std::isfinite(last)) return stop("the training loss is not finite", "");
    if (evidence.curve.may_be_scaled) {
      if (!evidence.positions) return stop("the loss may be x (T-1)/T with unknown T", "--seq");
      const auto t = static_cast<double>(*evidence.positions);
      last *= t / std::max(1.0, t - 1);
    }
    gain = evidence.rate->nats - last - curve.half_step;
  } else {
    return stop("needs the oracle on the training set",
                "per-token losses of training tokens and --oracle, or a curve, --oracle uniform:.. "
                "and --train-size");
  }
  if (evidence.train_tokens) tokens = static_cast<double>(*evidence.train_tokens);
  const double bits = gain * tokens / kLn2;
  const auto parameters = static_cast<double>(*evidence.parameters);
  const double limit = evidence.bits * parameters + 20;
  finding.measured = fmt::format("{:.4g} bits gained on {:.4g} training tokens, {:.3g} a parameter",
                                 bits, tokens, bits / parameters);
  finding.limit = fmt::format("> {:g} bits x {:.4g} parameters + 20", evidence.bits, parameters);
  finding.state = bits > limit ? State::fired : State::quiet;
  constexpr double kUsual = 3.6;  // bits a parameter: Morris et al., arXiv 2505.24832
  if (finding.state == State::quiet && bits > 2 * kUsual * parameters) {
    finding.state = State::noted;
    finding.details.push_back(
        "more than twice the 3.6 bits a parameter that models were seen to hold");
  }
  return finding;
}

namespace {

std::vector<double> row_means(const TokenSet& set) {
  std::vector<double> means;
  for (int64_t row = 0; row < set.rows; ++row) {
    double sum = 0, tokens = 0;
    for (int64_t t = 0; t < set.positions; ++t) {
      const auto i = static_cast<std::size_t>(row * set.positions + t);
      if (!set.is_counted(i) || !std::isfinite(set.losses[i])) continue;
      sum += set.losses[i];
      ++tokens;
    }
    if (tokens > 0) means.push_back(sum / tokens);
  }
  return means;
}

}  // namespace

Finding canary_exposure(const Evidence& evidence) {
  Finding finding{"canary exposure", State::not_run, "", "", {}, ""};
  if (!evidence.is_canaries) {
    finding.measured = "the oracle is not of canaries";
    return finding;
  }
  std::vector<double> unseen = row_means(evidence.sets[kFresh]);
  if (unseen.size() < 8) {
    finding.measured = "needs 8 canaries that were never shown, as fresh";
    finding.supply = "--fresh-losses of canaries that were never shown";
    return finding;
  }
  std::sort(unseen.begin(), unseen.end());
  const auto candidates = static_cast<double>(unseen.size() + 1);
  finding.limit = fmt::format(
      "exposure is 1.44 +- 1.44 / sqrt(n) where nothing was memorised, at "
      "most {:.1f}",
      std::log2(candidates));
  finding.state = State::quiet;
  for (const Set s : {kTrain, kVal}) {
    const std::vector<double> planted = row_means(evidence.sets[s]);
    if (planted.empty()) continue;
    double sum = 0, most = 0;
    for (const double loss : planted) {
      const auto below = std::lower_bound(unseen.begin(), unseen.end(), loss) - unseen.begin();
      const double exposure = std::log2(candidates) - std::log2(static_cast<double>(below) + 1);
      sum += exposure;
      most = std::max(most, exposure);
    }
    const auto n = static_cast<double>(planted.size());
    const double z = (sum / n - 1 / kLn2) * std::sqrt(n) * kLn2;
    if (z > 6) finding.state = State::noted;
    finding.measured += fmt::format("{}{}: {:.2f} on average, {:.2f} at most, of {} canaries",
                                    finding.measured.empty() ? "" : "; ", kSetNames[s], sum / n,
                                    most, planted.size());
  }
  return finding;
}

}  // namespace assay::verify::training
