#include "cli/train/study_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/train/run_folder.h"
#include "cli/training/overfit_inputs.h"
#include "verify/training/judge.h"

namespace assay::cli {
namespace {

using nlohmann::json;

constexpr double kNormal95 = 1.959963985;  // two-sided

// exp of the mean logarithm; NaN where a value is not positive.
double geometric_mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += std::log(value);
  return values.empty() ? NAN : std::exp(sum / static_cast<double>(values.size()));
}

void take_norms(const verify::training::Curve& curve, StudyRun& run) {
  for (int layer = 0;; ++layer) {
    const auto series = curve.layers.find(fmt::format("layers_{}", layer));
    if (series == curve.layers.end() || series->second.empty()) return;
    run.first_norms.push_back(series->second.values.front());
    run.last_norms.push_back(series->second.values.back());
    run.mean_norms.push_back(geometric_mean(series->second.values));
  }
}

// "0.031, 0.2": of the first and the last layer, geometric means over the runs.
std::string ends_of(const StudyRow& row, std::vector<double> StudyRun::*norms) {
  std::vector<double> first, last;
  for (const StudyRun& run : row.runs) {
    if ((run.*norms).empty()) return "";  // not told by layers
    first.push_back((run.*norms).front());
    last.push_back((run.*norms).back());
  }
  return fmt::format("{:.2g}, {:.2g}", geometric_mean(first), geometric_mean(last));
}

std::vector<double> each(const StudyRow& row, double StudyRun::*member) {
  std::vector<double> values;
  for (const StudyRun& run : row.runs) values.push_back(run.*member);
  return values;
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? NAN : sum / static_cast<double>(values.size());
}

std::string interval_text(const Interval& interval) {
  if (std::isnan(interval.mean)) return "";
  if (std::isnan(interval.half)) return fmt::format("{:.4f}", interval.mean);
  return fmt::format("{:.4f} +- {:.4f}", interval.mean, interval.half);
}

Interval loss_of(const StudyRow& row) {
  return interval_of(each(row, &StudyRun::fresh), row.runs.front().fresh_error);
}

Interval excess_of(const StudyRow& row) {
  return interval_of(each(row, &StudyRun::excess), row.runs.front().excess_error);
}

// Of fresh losses, seed by seed: the tokens are the same.
Interval against(const StudyRow& row, const StudyRow& plain) {
  std::vector<double> gains;
  for (std::size_t i = 0; i < std::min(row.runs.size(), plain.runs.size()); ++i) {
    if (row.runs[i].is_masked) return {};
    gains.push_back(row.runs[i].fresh - plain.runs[i].fresh);
  }
  return interval_of(gains, NAN);
}

std::string row_text(const StudyRow& row, const StudyRow& plain) {
  const StudyRun& run = row.runs.front();
  const std::string memory =
      run.peak_bytes > 0 ? fmt::format("{:.1f}", static_cast<double>(run.peak_bytes) / (1 << 20))
                         : "";
  // Work of others only ever slows a run down.
  const StudyRun& fastest =
      *std::min_element(row.runs.begin(), row.runs.end(),
                        [](const StudyRun& a, const StudyRun& b) { return a.seconds < b.seconds; });
  const std::string gain = &row == &plain ? "" : interval_text(against(row, plain));
  return fmt::format("| {} | {} | {} | {} | {} | {:.1f} | {:.0f} | {} | {} | {} | {} |\n",
                     row.form.name, interval_text(loss_of(row)), interval_text(excess_of(row)),
                     gain, run.parameters, fastest.seconds, fastest.tokens_per_second, memory,
                     ends_of(row, &StudyRun::first_norms), ends_of(row, &StudyRun::last_norms),
                     study_verdicts(row));
}

json run_json(const StudyRun& run) {
  return {{"seed", run.seed},
          {"fresh_loss", run.fresh},
          {"standard_error", run.fresh_error},
          {"over_oracle", run.excess},
          {"tokens_per_second", run.tokens_per_second},
          {"seconds", run.seconds},
          {"peak_bytes", run.peak_bytes},
          {"gradient_norms_first_step", run.first_norms},
          {"gradient_norms_last_step", run.last_norms},
          {"gradient_norms_mean", run.mean_norms},
          {"verdict", run.verdict}};
}

json interval_json(const Interval& interval) { return {interval.mean, interval.half}; }

}  // namespace

StudyRun read_study_run(const std::string& folder, uint64_t seed) {
  const json result = read_object(folder + "/result.json", "a file of a run");
  const json config = read_object(folder + "/config.json", "a file of a run");
  const auto number = [](const json& value) {
    return value.is_number() ? value.get<double>() : NAN;
  };
  StudyRun run;
  run.seed = seed;
  run.parameters = config.at("parameters").get<int64_t>();
  run.vocab = config.at("model").at("vocab_size").get<int64_t>();
  const json own = config.at("model").value("assay", json::object());
  run.is_masked = own.contains("pt") && own.at("pt").value("output", "mlm") == "mlm";
  run.fresh = number(result.at("mean_losses").at("fresh"));
  run.fresh_error = number(result.at("standard_errors").at("fresh"));
  run.peak_bytes = result.at("peak_bytes").get<int64_t>();
  run.tokens_per_second = number(result.at("tokens_per_second"));
  const json& training = config.at("training");
  double tokens = 1;
  for (const char* factor : {"steps", "batch", "accumulate", "positions"}) {
    tokens *= training.at(factor).get<double>();
  }
  run.seconds = tokens / run.tokens_per_second;
  OverfitOptions inputs;
  inputs.inputs = {folder};
  const verify::training::Evidence evidence = gather_evidence(inputs);
  const verify::training::Judgement judgement = verify::training::judge(evidence);
  take_norms(evidence.curve, run);
  run.val = evidence.curve.val;
  if (evidence.rate) run.oracle = evidence.rate->nats;
  if (const auto& excess = judgement.excess[verify::training::kFresh]) {
    run.excess = excess->value;
    if (excess->has_error()) run.excess_error = excess->error;
  }
  run.verdict = verify::training::verdict_name(judgement.verdict);
  return run;
}

Interval interval_of(const std::vector<double>& values, double error_of_one) {
  const auto n = static_cast<int64_t>(values.size());
  Interval interval{.mean = mean(values), .half = kNormal95 * error_of_one};
  if (n < 2) return interval;
  double squares = 0;
  for (const double value : values) squares += (value - interval.mean) * (value - interval.mean);
  const double error = std::sqrt(squares / static_cast<double>(n - 1) / static_cast<double>(n));
  interval.half = verify::training::sigmas_of(kNormal95, n - 1) * error;
  return interval;
}

std::string study_verdicts(const StudyRow& row) {
  std::vector<std::pair<std::string, int>> counts;
  for (const StudyRun& run : row.runs) {
    const auto known = std::find_if(counts.begin(), counts.end(),
                                    [&](const auto& count) { return count.first == run.verdict; });
    if (known == counts.end()) {
      counts.emplace_back(run.verdict, 1);
    } else {
      ++known->second;
    }
  }
  if (counts.size() == 1) return counts.front().first;
  std::vector<std::string> texts;
  for (const auto& [verdict, count] : counts) texts.push_back(fmt::format("{} {}", verdict, count));
  return fmt::format("{}", fmt::join(texts, ", "));
}

std::string study_table(const std::vector<StudyRow>& rows) {
  std::string text =
      "| method | fresh loss, nats a token | over the oracle | against plain | parameters | s | "
      "tokens/s | MiB | gradient norm of the first and the last layer, first step | last step | "
      "verdict |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|\n";
  for (const StudyRow& row : rows) {
    text += row.problem.empty() ? row_text(row, rows.front())
                                : fmt::format("| {} | | | | | | | | | | not trained: {} |\n",
                                              row.form.name, row.problem);
  }
  return text;
}

json study_json(const std::vector<StudyRow>& rows) {
  json list = json::array();
  for (const StudyRow& row : rows) {
    json entry = {{"method", row.form.name},
                  {"known_wrong", row.form.known_wrong},
                  {"problem", row.problem},
                  {"runs", json::array()}};
    for (const StudyRun& run : row.runs) entry["runs"].push_back(run_json(run));
    if (!row.runs.empty()) {
      entry["parameters"] = row.runs.front().parameters;
      entry["fresh_loss"] = interval_json(loss_of(row));
      entry["over_oracle"] = interval_json(excess_of(row));
      entry["against_plain"] = interval_json(against(row, rows.front()));
      entry["verdict"] = study_verdicts(row);
    }
    list.push_back(std::move(entry));
  }
  return {{"assay_study", 1}, {"methods", list}};
}

}  // namespace assay::cli
