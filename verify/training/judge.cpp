#include "verify/training/judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "verify/training/counted.h"
#include "verify/training/curve_checks.h"
#include "verify/training/decision.h"
#include "verify/training/oracle_check.h"
#include "verify/training/token_checks.h"

namespace assay::verify::training {
namespace {

Finding structural_finding(const Evidence& evidence) {
  Finding finding{
      "structural detectors", State::not_run, "", "no dependence on the future", {}, ""};
  if (!evidence.structural) {
    finding.measured = "no report of 'assay leak' or 'assay prove'";
    finding.supply = "--leak-report: what 'assay leak --json' wrote of this model";
    return finding;
  }
  const bool leaks = !evidence.structural->finding.empty();
  finding.state = leaks ? State::fired : State::quiet;
  finding.measured =
      leaks ? evidence.structural->finding : "no leak in " + evidence.structural->path;
  return finding;
}

// An oracle that is not these tokens' is none.
Finding oracle_finding(Evidence& evidence) {
  Finding finding{
      "oracle",    State::not_run,
      "no oracle", "the tokens are the oracle's",
      {},          "--oracle: the source of the tokens, or a file of their log probabilities"};
  for (std::size_t s = 0; s < kSetNames.size(); ++s) {
    const TokenSet& set = evidence.sets[s];
    if (set.oracle.empty()) continue;
    finding.supply.clear();
    finding.state = State::quiet;
    finding.measured = set.targets.empty() && set.expected.empty()
                           ? "taken at its word: no tokens to check it by"
                           : "nothing speaks against it";
    const TokenSet& train = evidence.sets[kTrain];
    const bool learns = s == kFresh && !train.targets.empty() && evidence.fresh_is.empty();
    std::string problem = oracle_problem(set, learns ? &train : nullptr);
    if (problem.empty()) problem = alignment_problem(set);
    if (problem.empty() || !evidence.oracle_problem.empty()) continue;
    evidence.oracle_problem = fmt::format("{}: {}", kSetNames[s], problem);
  }
  if (!evidence.oracle_problem.empty()) {
    finding.state = State::noted;
    finding.measured = "not of these tokens: " + evidence.oracle_problem;
    finding.supply = "the oracle that the tokens were drawn from, each row from its beginning";
  } else if (finding.state == State::not_run && evidence.rate) {
    finding.state = State::quiet;
    finding.supply.clear();
    finding.measured = fmt::format("{:.4g} nats a token", evidence.rate->nats);
  }
  return finding;
}

std::string code_text(const CodeLength& code) {
  return fmt::format("log e = {:.4g} of {} tokens (pooled sum {:.4g}, {:+.3g} a token)", code.log_e,
                     code.tokens, code.pooled.sum, code.mean_gain);
}

Finding code_finding(const Evidence& evidence, Set s, double threshold, CodeLength& code) {
  const TokenSet& set = evidence.sets[s];
  Finding finding{fmt::format("code length of {}", kSetNames[s]), State::not_run, "", "", {}, ""};
  const auto stop = [&](std::string why, std::string supply) {
    code.why_not = why;
    finding.measured = std::move(why);
    finding.supply = std::move(supply);
    return finding;
  };
  if (set.empty()) {
    return stop("no per-token losses", fmt::format("--{}-losses: a loss a token", kSetNames[s]));
  }
  if (set.oracle.empty()) return stop("no oracle", "--oracle, and the tokens of the set");
  if (!evidence.oracle_problem.empty()) return stop("the oracle is not of these tokens", "");
  if (!is_finite(set)) return stop("losses are not finite", "");
  code = code_length(set, threshold);
  if (!code.ran) return stop(code.why_not, "");
  finding.measured = code_text(code);
  finding.state = code.log_e >= threshold ? State::fired : State::quiet;
  if (s == kTrain) {
    finding.limit = "decides nothing: any fitted model gains on its own training tokens";
    if (finding.state == State::fired) finding.state = State::noted;
    return finding;
  }
  finding.limit = fmt::format(">= {:.4g}", threshold);
  if (finding.state == State::quiet) return finding;
  finding.details.push_back(fmt::format("first at token {}; p <= 10^-{:.1f}", code.alarm_token,
                                        std::floor(code.log_e / std::log(10.0) * 10) / 10));
  finding.details.push_back(fmt::format("strongest in {}: {:.4g} nats over {} tokens",
                                        code.best.name, code.best.highest, code.best.tokens));
  return finding;
}

void collect_supply(Judgement& judgement) {
  for (const Finding& finding : judgement.findings) {
    const auto& known = judgement.supply;
    if (finding.supply.empty() ||
        std::find(known.begin(), known.end(), finding.supply) != known.end()) {
      continue;
    }
    judgement.supply.push_back(finding.supply);
  }
}

void collect_notes(const Evidence& evidence, Judgement& judgement) {
  judgement.notes = evidence.curve.notes;
  for (std::size_t s = 0; s < kSetNames.size(); ++s) {
    for (const std::string& note : evidence.sets[s].notes) {
      judgement.notes.push_back(fmt::format("{}: {}", kSetNames[s], note));
    }
  }
}

}  // namespace

Judgement judge(const Evidence& given) {
  Evidence evidence = given;
  Judgement judgement;
  const double threshold = std::log(1 / evidence.alpha);
  const double selection =
      evidence.checkpoints ? std::log(static_cast<double>(*evidence.checkpoints)) : 0;
  auto& findings = judgement.findings;
  findings.push_back(structural_finding(evidence));
  findings.push_back(oracle_finding(evidence));
  findings.push_back(label_check(evidence));
  findings.push_back(normalisation(evidence));
  findings.push_back(recomputed_loss(evidence));
  findings.push_back(offset_check(evidence, judgement.offsets));
  for (const Set s : {kFresh, kVal, kTrain}) {
    const double own = s == kVal ? threshold + selection : threshold;
    findings.push_back(code_finding(evidence, s, own, judgement.code[s]));
  }
  findings.push_back(prequential(evidence, threshold));
  findings.push_back(contamination(evidence));
  findings.push_back(curve_divergence(evidence.curve, evidence.vocab));
  findings.push_back(token_divergence(evidence));
  findings.push_back(curve_degenerate(evidence.curve));
  findings.push_back(token_degenerate(evidence));
  findings.push_back(token_gap(evidence, judgement.gap));
  findings.push_back(curve_gap(evidence.curve, evidence.positions));
  findings.push_back(val_rise(evidence.curve));
  findings.push_back(curve_below_oracle(evidence));
  findings.push_back(counting_bound(evidence));
  findings.push_back(canary_exposure(evidence));
  findings.push_back(excess_check(evidence));
  findings.push_back(curve_above_oracle(evidence));
  for (std::size_t s = 0; s < kSetNames.size(); ++s) {
    judgement.loss[s] = mean_loss(evidence.sets[s]);
    if (evidence.oracle_problem.empty()) judgement.excess[s] = mean_excess(evidence.sets[s]);
  }
  collect_supply(judgement);
  collect_notes(evidence, judgement);
  decide(evidence, judgement);
  return judgement;
}

}  // namespace assay::verify::training
