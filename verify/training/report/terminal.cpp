#include <fmt/format.h>

#include <cmath>

#include "golden/contract/names.h"
#include "verify/training/report/training_report.h"

namespace assay::verify::training {
namespace {

std::string mark_of(State state) {
  if (state == State::not_run) return "-";
  return state == State::fired ? "FIRED" : state_name(state);
}

const char* colour_of_verdict(Verdict verdict) {
  switch (verdict_exit_code(verdict)) {
    case 0:
      return "\033[32m";
    case 1:
      return "\033[31m";
    default:
      return "\033[33m";
  }
}

std::string inputs_text(const Evidence& evidence) {
  std::string text;
  if (!evidence.curve.empty()) {
    text += fmt::format("curve  {}: {} training, {} val, {} gradient norm points\n",
                        evidence.curve.format, evidence.curve.train.values.size(),
                        evidence.curve.val.values.size(), evidence.curve.grad_norm.values.size());
  }
  for (std::size_t s = 0; s < kSetNames.size(); ++s) {
    const TokenSet& set = evidence.sets[s];
    if (set.empty()) continue;
    text += fmt::format("{:<6} {}: [{},{}] losses ({})\n", kSetNames[s], golden::one_line(set.path),
                        set.rows, set.positions, set.loss_resolution.what);
  }
  if (evidence.oracle.empty()) return text;
  text += "oracle " + golden::one_line(evidence.oracle);
  if (evidence.rate) {
    text += fmt::format(": {:.5g} nats a token", evidence.rate->nats);
    if (evidence.rate->error > 0) text += fmt::format(" +- {:.1g}", evidence.rate->error);
  }
  return text + "\n";
}

std::string findings_text(const Judgement& judgement) {
  std::string text = "\n";
  for (const Finding& finding : judgement.findings) {
    if (finding.state == State::not_run) continue;
    text += fmt::format("{:<6} {:<26} {}\n", mark_of(finding.state), finding.name,
                        golden::one_line(finding.measured));
    if (!finding.limit.empty() && finding.state != State::quiet) {
      text += fmt::format("{:<6} {:<26}   fires at: {}\n", "", "", finding.limit);
    }
    for (const std::string& detail : finding.details) {
      text += fmt::format("{:<6} {:<26}   {}\n", "", "", golden::one_line(detail));
    }
  }
  bool any = false;
  for (const Finding& finding : judgement.findings) {
    if (finding.state != State::not_run) continue;
    if (!any) text += "\nnot run:\n";
    any = true;
    text += fmt::format("       {:<26} {}\n", finding.name, golden::one_line(finding.measured));
  }
  return text;
}

}  // namespace

std::string terminal_text(const Evidence& evidence, const Judgement& judgement, bool colour) {
  std::string text = inputs_text(evidence) + findings_text(judgement);
  for (const std::string& note : judgement.notes) text += "note: " + golden::one_line(note) + "\n";
  if (judgement.verdict == Verdict::insufficient || judgement.verdict == Verdict::leak_suspected) {
    for (const std::string& what : judgement.supply) text += "supply: " + what + "\n";
  }
  const std::string name = verdict_name(judgement.verdict);
  text += fmt::format("\nverdict: {}: {}\n",
                      colour ? colour_of_verdict(judgement.verdict) + name + "\033[0m" : name,
                      golden::one_line(judgement.reason));
  for (const Flag& flag : judgement.flags) {
    text +=
        fmt::format("also:    {}: {}\n", verdict_name(flag.verdict), golden::one_line(flag.reason));
  }
  return text;
}

std::vector<Check> checks_of(const Judgement& judgement) {
  std::vector<Check> checks;
  const int code = verdict_exit_code(judgement.verdict);
  checks.push_back({"verdict " + verdict_name(judgement.verdict),
                    code == 0   ? Status::pass
                    : code == 1 ? Status::fail
                                : Status::inconclusive,
                    judgement.reason, judgement.notes});
  for (const Finding& finding : judgement.findings) {
    const Status status = finding.state == State::fired     ? Status::fail
                          : finding.state == State::not_run ? Status::skipped
                                                            : Status::pass;
    checks.push_back({finding.name, status, finding.measured, finding.details});
  }
  return checks;
}

}  // namespace assay::verify::training
