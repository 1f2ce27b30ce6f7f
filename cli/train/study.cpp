#include "cli/train/study.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/train/loop.h"
#include "cli/train/run_folder.h"
#include "cli/training/overfit_inputs.h"
#include "golden/contract/error.h"
#include "golden/contract/methods.h"
#include "verify/report/report.h"
#include "verify/training/judge.h"

namespace assay::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct StudyRun {
  std::string name, method, residual;  // residual "" is the method's default
};

std::vector<StudyRun> study_runs() {
  std::vector<StudyRun> all;
  for (const golden::MethodInfo& method : golden::methods()) {
    all.push_back({method.id, method.id, ""});
    if (method.takes("residual")) all.push_back({method.id + "-replace", method.id, "replace"});
  }
  return all;
}

struct StudyRow {
  std::string name, verdict, problem;
  int64_t parameters = 0, peak_bytes = 0;
  double fresh = NAN, error = NAN, tokens_per_second = NAN;
  double first_norm = NAN, last_norm = NAN;  // gradient of the first and the last layer, at the end
};

// At the last step, of the layer with the lowest and the highest number.
void take_norms(const verify::training::Curve& curve, StudyRow& row) {
  for (int layer = 0;; ++layer) {
    const auto series = curve.layers.find(fmt::format("layers_{}", layer));
    if (series == curve.layers.end() || series->second.empty()) return;
    if (layer == 0) row.first_norm = series->second.values.back();
    row.last_norm = series->second.values.back();
  }
}

void take_results(const std::string& folder, StudyRow& row) {
  const json result = read_object(folder + "/result.json", "a file of a run");
  row.parameters =
      read_object(folder + "/config.json", "a file of a run").at("parameters").get<int64_t>();
  const auto number = [](const json& value) {
    return value.is_number() ? value.get<double>() : NAN;
  };
  row.fresh = number(result.at("mean_losses").at("fresh"));
  row.error = number(result.at("standard_errors").at("fresh"));
  row.peak_bytes = result.at("peak_bytes").get<int64_t>();
  row.tokens_per_second = number(result.at("tokens_per_second"));
  OverfitOptions inputs;
  inputs.inputs = {folder};
  const verify::training::Evidence evidence = gather_evidence(inputs);
  take_norms(evidence.curve, row);
  row.verdict = verify::training::verdict_name(verify::training::judge(evidence).verdict);
}

std::string study_table(const std::vector<StudyRow>& rows) {
  std::string text =
      "| method | fresh loss, nats a token | parameters | tokens/s | MiB | "
      "gradient norm, first and last layer | verdict |\n"
      "|---|---|---|---|---|---|---|\n";
  for (const StudyRow& row : rows) {
    if (!row.problem.empty()) {
      text += fmt::format("| {} | | | | | | not trained: {} |\n", row.name, row.problem);
      continue;
    }
    const std::string memory =
        row.peak_bytes > 0 ? fmt::format("{:.1f}", static_cast<double>(row.peak_bytes) / (1 << 20))
                           : "";
    const std::string norms = std::isnan(row.first_norm)
                                  ? ""  // not told by layers
                                  : fmt::format("{:.3g}, {:.3g}", row.first_norm, row.last_norm);
    text +=
        fmt::format("| {} | {:.4f} +- {:.4f} | {} | {:.0f} | {} | {} | {} |\n", row.name, row.fresh,
                    row.error, row.parameters, row.tokens_per_second, memory, norms, row.verdict);
  }
  return text;
}

json study_json(const std::vector<StudyRow>& rows) {
  json list = json::array();
  for (const StudyRow& row : rows) {
    list.push_back({{"method", row.name},
                    {"fresh_loss", row.fresh},
                    {"standard_error", row.error},
                    {"parameters", row.parameters},
                    {"tokens_per_second", row.tokens_per_second},
                    {"peak_bytes", row.peak_bytes},
                    {"gradient_norm_first_layer", row.first_norm},
                    {"gradient_norm_last_layer", row.last_norm},
                    {"verdict", row.verdict},
                    {"problem", row.problem}});
  }
  return {{"assay_study", 1}, {"methods", list}};
}

TrainRunOptions run_options(const TrainRunOptions& options, const StudyRun& wanted) {
  TrainRunOptions own = options;
  own.model.method = wanted.method;
  own.model.residual = wanted.residual;
  own.out = (fs::path(options.out) / wanted.name).string();
  own.quiet = true;
  own.resume = options.resume && fs::is_regular_file(own.out + "/config.json");
  return own;
}

GivenOptions run_given(const GivenOptions& given, const StudyRun& wanted) {
  GivenOptions own = given;
  own["--method"] = {wanted.method};
  own.erase("--residual");
  if (!wanted.residual.empty()) own["--residual"] = {wanted.residual};
  return own;
}

// Whether it ended as these options say. Throws InputError where it was started with others.
bool has_ended(const TrainRunOptions& own, const GivenOptions& given) {
  if (!own.resume) return false;
  const GivenOptions stored = read_run_start(own.out).options;
  const TrainRunOptions whole = resumed_options(stored, given, own);
  for (const auto& [name, values] : stored) {  // methods that are not there yet would go without
    if (name == "--save-every" || given.contains(name)) continue;
    throw InputError(fmt::format("--resume: {}: the run was started with {} {}; give it here too",
                                 own.out, name, fmt::join(values, ",")));
  }
  const std::string result = own.out + "/result.json";
  return fs::is_regular_file(result) &&
         read_object(result, "a file of a run").at("steps").get<int64_t>() == whole.steps;
}

}  // namespace

bool study(const TrainRunOptions& options, const GivenOptions& given) {
  if (!options.model.residual.empty()) {
    throw InputError("--residual: --method all trains with and without it: leave it out");
  }
  check_train_options(options);
  std::vector<StudyRow> rows;
  for (const StudyRun& wanted : study_runs()) {
    const TrainRunOptions own = run_options(options, wanted);
    StudyRow row{.name = wanted.name, .verdict = "", .problem = ""};
    const GivenOptions own_given = run_given(given, wanted);
    if (!has_ended(own, own_given)) {
      bool over = true;
      try {
        over = train(own, own_given);
      } catch (const InputError& error) {
        if (fs::exists(own.out) || rows.empty()) throw;
        row.problem = error.what();  // an option that this method does not take
      }
      if (!over) return false;
    }
    if (row.problem.empty()) take_results(own.out, row);
    if (!options.quiet) {
      fmt::print("{:<14} {}\n", row.name,
                 row.problem.empty()
                     ? fmt::format("fresh {:.4f} +- {:.4f}  {}", row.fresh, row.error, row.verdict)
                     : row.problem);
      std::fflush(stdout);
    }
    rows.push_back(std::move(row));
  }
  const std::string table = study_table(rows);
  verify::write_report(table, options.out + "/study.md");
  verify::write_report(study_json(rows).dump(2) + "\n", options.out + "/study.json");
  if (!options.quiet) fmt::print("\n{}", table);
  return true;
}

}  // namespace assay::cli
