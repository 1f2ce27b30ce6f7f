#include "cli/train/study.h"

#include <fmt/format.h>

#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/train/loop.h"
#include "cli/train/run_folder.h"
#include "cli/train/study_pictures.h"
#include "cli/train/study_rows.h"
#include "golden/contract/error.h"
#include "golden/contract/methods.h"
#include "verify/report/report.h"

namespace assay::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// The method itself, its forms, and what is known to be wrong of some of them.
std::vector<StudyForm> study_forms() {
  std::vector<StudyForm> forms, wrong;
  for (const golden::MethodInfo& method : golden::methods()) {
    const std::string& id = method.id;
    forms.push_back({id, id, "", "", ""});
    if (method.takes("residual")) forms.push_back({id + "-replace", id, "replace", "", ""});
    if (method.takes("pt")) forms.push_back({id + "-causal", id, "", "causal", ""});
  }
  for (const char* id : {"plain", "1", "5.1"}) {
    wrong.push_back({fmt::format("{}-lost-mask", id), id, "", "", "lost-mask"});
  }
  for (const char* id : {"1", "2"}) {
    wrong.push_back({fmt::format("{}-re-softmax", id), id, "", "", "re-softmax"});
  }
  wrong.push_back({"1-replace-re-softmax", "1", "replace", "", "re-softmax"});
  forms.insert(forms.end(), wrong.begin(), wrong.end());
  return forms;
}

TrainRunOptions run_options(const TrainRunOptions& options, const StudyForm& form, int64_t run) {
  TrainRunOptions own = options;
  own.model.method = form.method;
  own.model.residual = form.residual;
  own.model.pt_output = form.pt_output;
  own.model.seed += static_cast<uint64_t>(run);
  own.known_wrong = form.known_wrong;
  const std::string name =
      run == 0 ? form.name : fmt::format("{}-seed-{}", form.name, own.model.seed);
  own.out = (fs::path(options.out) / name).string();
  own.quiet = true;
  own.resume = options.resume && fs::is_regular_file(own.out + "/config.json");
  return own;
}

GivenOptions run_given(const GivenOptions& given, const StudyForm& form, const TrainRunOptions& own,
                       int64_t run) {
  GivenOptions all = given;
  const auto give = [&](const char* name, const std::string& value) {
    all.erase(name);
    if (!value.empty()) all[name] = {value};
  };
  give("--method", form.method);
  give("--residual", form.residual);
  give("--pt-output", form.pt_output);
  if (run > 0) give("--seed", std::to_string(own.model.seed));
  return all;
}

// Whether it ended as these options say. Throws InputError where it was started with others.
bool has_ended(const TrainRunOptions& own, const GivenOptions& given) {
  if (!own.resume) return false;
  const RunStart start = read_run_start(own.out);
  const GivenOptions& stored = start.options;
  if (start.known_wrong != own.known_wrong) {
    throw InputError(fmt::format("--resume: {}: expected a run of {}, got one of {}", own.out,
                                 own.known_wrong.empty() ? "the method" : own.known_wrong,
                                 start.known_wrong.empty() ? "the method" : start.known_wrong));
  }
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

// Trains one run of a form, or finds it trained. False where it was stopped.
bool take_run(const TrainRunOptions& options, const GivenOptions& given, int64_t run, bool is_first,
              StudyRow& row) {
  const TrainRunOptions own = run_options(options, row.form, run);
  const GivenOptions own_given = run_given(given, row.form, own, run);
  if (!has_ended(own, own_given)) {
    try {
      if (!train(own, own_given)) return false;
    } catch (const InputError& error) {
      if (fs::exists(own.out) || is_first) throw;
      row.problem = error.what();  // an option that this method does not take
    }
  }
  if (row.problem.empty()) row.runs.push_back(read_study_run(own.out, own.model.seed));
  if (options.quiet) return true;
  std::string text = row.problem;
  if (text.empty()) {
    const StudyRun& last = row.runs.back();
    text = fmt::format("seed {}  fresh {:.4f} +- {:.4f}  {}", last.seed, last.fresh,
                       last.fresh_error, last.verdict);
  }
  fmt::print("{:<22} {}\n", row.form.name, text);
  std::fflush(stdout);
  return true;
}

// Whether a study makes a file or folder of that name.
bool is_of_study(const std::string& name) {
  static const std::set<std::string> kOfStudy{"study.md", "study.json", "losses.svg",
                                              "gradients.svg"};
  if (kOfStudy.contains(name)) return true;
  for (const StudyForm& form : study_forms()) {
    const std::string others = form.name + "-seed-";
    const bool is_number = name.size() > others.size() &&
                           name.find_first_not_of("0123456789", others.size()) == name.npos;
    if (name == form.name || (name.starts_with(others) && is_number)) return true;
  }
  return false;
}

void check_folder(const std::string& folder) {
  if (fs::exists(folder) && !fs::is_directory(folder)) {
    throw InputError(fmt::format("--out {}: expected a folder, got a file", folder));
  }
  for (const std::string& name : names_in(folder)) {
    if (is_of_study(name)) continue;
    throw InputError(
        fmt::format("--out {}: expected a new folder or one of --method all, got a folder with {} "
                    "in it",
                    folder, golden::printable(name)));
  }
}

void check_study(const TrainRunOptions& options) {
  if (!options.model.residual.empty()) {
    throw InputError("--residual: --method all trains with and without it: leave it out");
  }
  if (!options.model.pt_output.empty()) {
    throw InputError("--pt-output: --method all trains pt with each: leave it out");
  }
  check_train_options(options);
  check_folder(options.out);
  if (static_cast<uint64_t>(options.seeds - 1) >
      std::numeric_limits<uint64_t>::max() - options.model.seed) {
    throw InputError(fmt::format("--seeds {}: expected at most those from --seed {} to 2^64 - 1",
                                 options.seeds, options.model.seed));
  }
}

}  // namespace

bool study(const TrainRunOptions& options, const GivenOptions& given) {
  check_study(options);
  std::vector<StudyRow> rows;
  for (const StudyForm& form : study_forms()) rows.push_back({form, "", {}});
  for (int64_t run = 0; run < options.seeds; ++run) {
    for (StudyRow& row : rows) {
      if (!row.problem.empty()) continue;
      const bool is_first = run == 0 && &row == &rows.front();
      if (!take_run(options, given, run, is_first, row)) return false;
    }
  }
  const std::string table = study_table(rows);
  verify::write_report(table, options.out + "/study.md");
  verify::write_report(study_json(rows).dump(2) + "\n", options.out + "/study.json");
  verify::write_report(study_losses_svg(rows), options.out + "/losses.svg");
  verify::write_report(study_gradients_svg(rows), options.out + "/gradients.svg");
  if (!options.quiet) fmt::print("\n{}", table);
  return true;
}

}  // namespace assay::cli
