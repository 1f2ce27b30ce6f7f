// assay compare: one candidate against a golden file, or several that are also set side by side.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <memory>
#include <sstream>

#include "cli/command.h"
#include "cli/compare/candidates.h"
#include "cli/judge.h"
#include "cli/report_options.h"
#include "cli/subjects.h"
#include "golden/contract/error.h"

namespace assay::cli {
namespace {

namespace fs = std::filesystem;

// A subject's spelling, or the path of a dump.
std::string subject_of(const std::string& candidate) {
  return is_spelled_as_subject(candidate) ? candidate : "file:" + candidate;
}

// "" of what is no dump: a library or a program is made anew and may answer otherwise.
std::string dump_of(const JudgeOptions& candidate) {
  return candidate.subject.starts_with("file:") ? file_behind(candidate.subject) : "";
}

// Before hours of work on the others.
void require_files(const std::vector<JudgeOptions>& candidates) {
  for (const JudgeOptions& one : candidates) {
    const std::string path = dump_of(one);
    if (path.empty() || fs::exists(fs::symlink_status(path))) continue;
    throw InputError(fmt::format("{}: no such file: expected the path of a dump, or a subject: {}",
                                 path, subject_spellings()));
  }
}

// "fp32,bf16": one word for each candidate, or one for all.
std::vector<std::string> one_each(const char* option, const std::string& text, std::size_t count) {
  std::vector<std::string> words;
  std::string word;
  std::istringstream list(text);
  while (std::getline(list, word, ',')) words.push_back(word);
  if (words.empty() || text.ends_with(',')) words.emplace_back();
  if (words.size() == 1) words.resize(count, words[0]);
  if (words.size() != count) {
    throw InputError(
        fmt::format("{} {}: expected one for all or one for each of {} candidates, "
                    "got {}",
                    option, text, count, words.size()));
  }
  return words;
}

// Whether two are one file and judged alike: then nothing is compared with itself.
bool are_one(const JudgeOptions& one, const JudgeOptions& other) {
  const std::string a = dump_of(one), b = dump_of(other);
  std::error_code ignored;
  return !a.empty() && !b.empty() && fs::equivalent(a, b, ignored) &&
         one.precision == other.precision && one.elsewhere.schedule == other.elsewhere.schedule &&
         one.elsewhere.angles == other.elsewhere.angles && one.elsewhere.map == other.elsewhere.map;
}

void require_different(const std::vector<JudgeOptions>& candidates) {
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    for (std::size_t j = i + 1; j < candidates.size(); ++j) {
      if (!are_one(candidates[i], candidates[j])) continue;
      throw InputError(fmt::format(
          "candidate {}: {}: the same file as candidate {}, judged alike: expected another one, "
          "or another --precision for each",
          candidate_label(j), file_behind(candidates[j].subject), candidate_label(i)));
    }
  }
}

// The options of each candidate.
std::vector<JudgeOptions> options_of(const VerifyOptions& typed,
                                     const std::vector<std::string>& candidates) {
  const std::size_t count = candidates.size();
  if (count > kMostCandidates) {
    throw InputError(fmt::format("compare: too many candidates: expected at most {}, got {}",
                                 kMostCandidates, count));
  }
  const SubjectOptions& elsewhere = typed.judge.elsewhere;
  const auto precisions = one_each("--precision", typed.precision, count);
  const auto schedules = one_each("--schedule", elsewhere.schedule, count);
  const auto angles = one_each("--angles", elsewhere.angles, count);
  const auto maps = one_each("--map", elsewhere.map, count);
  std::vector<JudgeOptions> list(count, typed.judge);
  bool any_elsewhere = false;
  for (std::size_t i = 0; i < count; ++i) {
    list[i].subject = subject_of(candidates[i]);
    require_subject(list[i].subject);
    list[i].precision = golden::parse_precision(precisions[i]);
    list[i].elsewhere.schedule = schedules[i];
    list[i].elsewhere.angles = angles[i];
    list[i].elsewhere.map = maps[i];
    any_elsewhere = any_elsewhere || is_made_elsewhere(list[i].subject);
  }
  for (JudgeOptions& options : list) {
    // One word for all is for those that it can be said of.
    const bool knows_its_own = any_elsewhere && !is_made_elsewhere(options.subject);
    if (knows_its_own && elsewhere.schedule.find(',') == std::string::npos) {
      options.elsewhere.schedule.clear();
    }
    if (knows_its_own && elsewhere.angles.find(',') == std::string::npos) {
      options.elsewhere.angles.clear();
    }
    if (knows_its_own && elsewhere.map.find(',') == std::string::npos) {
      options.elsewhere.map.clear();
    }
  }
  return list;
}

int run_compare(VerifyOptions& typed, const std::vector<std::string>& candidates,
                const Outcome& outcome) {
  const std::vector<JudgeOptions> list = options_of(typed, candidates);
  std::vector<std::string> inputs{typed.judge.golden_path, typed.judge.checkpoint};
  for (const JudgeOptions& one : list) {
    inputs.insert(inputs.end(), {file_behind(one.subject), one.elsewhere.map});
  }
  check_report_targets(typed.report, inputs);
  require_files(list);
  require_different(list);
  if (list.size() == 1) {
    typed.judge = list[0];
    typed.precision = golden::precision_name(list[0].precision);
    return run_verify(typed, outcome);
  }
  verify::RunReport report = judge_side_by_side(list);
  report.command_line = outcome.command_line;
  return conclude(report, typed.report, outcome);
}

}  // namespace

void add_compare(CLI::App& app, Outcome& outcome) {
  CLI::App* command =
      app.add_subcommand("compare", "judge candidates against a golden file, several side by side");
  auto options = std::make_shared<VerifyOptions>();
  auto candidates = std::make_shared<std::vector<std::string>>();
  command->add_option("golden", options->judge.golden_path, "golden file")->required();
  command
      ->add_option("candidates", *candidates,
                   "HDF5, .npz or .safetensors files with candidates' tensors, or subjects as "
                   "'assay subjects' lists them; of several, --precision, --schedule, --angles "
                   "and --map may name one for each, with commas")
      ->required();
  add_judge_options(*command, *options);
  command->callback([options, candidates, &outcome] {
    outcome.exit_code = run_compare(*options, *candidates, outcome);
  });
}

}  // namespace assay::cli
