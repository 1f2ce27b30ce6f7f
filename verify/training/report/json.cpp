#include <cmath>
#include <nlohmann/json.hpp>

#include "verify/training/report/training_report.h"

namespace assay::verify::training {
namespace {

using TrainingJson = nlohmann::ordered_json;

TrainingJson finite(double value) {
  return std::isfinite(value) ? TrainingJson(value) : TrainingJson(nullptr);
}

TrainingJson list_of(const std::vector<double>& values) {
  TrainingJson list = TrainingJson::array();
  for (const double value : values) list.push_back(finite(value));
  return list;
}

TrainingJson mean_json(const std::optional<Mean>& mean) {
  if (!mean) return nullptr;
  return {{"value", finite(mean->value)},
          {"standard_error", mean->has_error() ? finite(mean->error) : TrainingJson(nullptr)},
          {"tokens", mean->tokens}};
}

TrainingJson stratum_json(const Stratum& stratum) {
  return {{"name", stratum.name},
          {"log_e", finite(stratum.log_e())},
          {"sum", finite(stratum.sum)},
          {"highest", finite(stratum.highest)},
          {"tokens", stratum.tokens}};
}

TrainingJson code_json(const CodeLength& code) {
  if (!code.ran) return {{"ran", false}, {"why_not", code.why_not}};
  TrainingJson strata = TrainingJson::array();
  for (const Stratum& stratum : code.strata) strata.push_back(stratum_json(stratum));
  return {{"ran", true},
          {"log_e", finite(code.log_e)},
          {"tokens", code.tokens},
          {"mean_gain", finite(code.mean_gain)},
          {"pooled", stratum_json(code.pooled)},
          {"alarm_token",
           code.alarm_token < 0 ? TrainingJson(nullptr) : TrainingJson(code.alarm_token)},
          {"strata", strata}};
}

TrainingJson sets_json(const Evidence& evidence, const Judgement& judgement) {
  TrainingJson sets = TrainingJson::object();
  for (std::size_t s = 0; s < kSetNames.size(); ++s) {
    const TokenSet& set = evidence.sets[s];
    if (set.empty()) {
      sets[kSetNames[s]] = nullptr;
      continue;
    }
    sets[kSetNames[s]] = {{"path", set.path},
                          {"rows", set.rows},
                          {"positions", set.positions},
                          {"resolution", set.loss_resolution.what},
                          {"loss", mean_json(judgement.loss[s])},
                          {"excess", mean_json(judgement.excess[s])},
                          {"code_length", code_json(judgement.code[s])}};
  }
  return sets;
}

TrainingJson curve_json(const Curve& curve) {
  if (curve.empty()) return nullptr;
  const auto series = [](const Series& of) -> TrainingJson {
    return {{"step", list_of(of.steps)}, {"value", list_of(of.values)}};
  };
  return {{"format", curve.format},
          {"train", series(curve.train)},
          {"val", series(curve.val)},
          {"fresh", series(curve.fresh)},
          {"grad_norm", series(curve.grad_norm)}};
}

TrainingJson findings_json(const Judgement& judgement) {
  TrainingJson findings = TrainingJson::array();
  for (const Finding& finding : judgement.findings) {
    findings.push_back(
        {{"name", finding.name},
         {"state", finding.state == State::not_run ? "not_run" : state_name(finding.state)},
         {"measured", finding.measured},
         {"limit", finding.limit},
         {"details", finding.details},
         {"supply", finding.supply}});
  }
  return findings;
}

}  // namespace

std::string json_text(const Evidence& evidence, const Judgement& judgement,
                      const std::string& command_line) {
  TrainingJson flags = TrainingJson::array();
  for (const Flag& flag : judgement.flags) {
    flags.push_back({{"verdict", verdict_name(flag.verdict)}, {"reason", flag.reason}});
  }
  TrainingJson offsets = nullptr;
  if (judgement.offsets) {
    offsets = {{"first_k", kFirstOffset}, {"losses", list_of(judgement.offsets->losses)}};
  }
  TrainingJson rate = nullptr;
  if (evidence.rate) {
    rate = {{"nats", finite(evidence.rate->nats)}, {"error", finite(evidence.rate->error)}};
  }
  const TrainingJson json{{"assay_overfit_report", 1},
                          {"verdict", verdict_name(judgement.verdict)},
                          {"exit_code", verdict_exit_code(judgement.verdict)},
                          {"reason", judgement.reason},
                          {"flags", flags},
                          {"notes", judgement.notes},
                          {"supply", judgement.supply},
                          {"command", command_line},
                          {"oracle", {{"source", evidence.oracle}, {"rate", rate}}},
                          {"findings", findings_json(judgement)},
                          {"gap", mean_json(judgement.gap)},
                          {"sets", sets_json(evidence, judgement)},
                          {"offsets", offsets},
                          {"curve", curve_json(evidence.curve)}};
  return json.dump(1, ' ', false, TrainingJson::error_handler_t::replace) + "\n";
}

}  // namespace assay::verify::training
