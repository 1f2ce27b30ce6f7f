// assay suite list, generate, hashes; verify and bundle stand beside it.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/suite_bundle.h"
#include "cli/suite_progress.h"
#include "cli/suite_verify.h"
#include "golden/contract/error.h"
#include "golden/file/files.h"
#include "golden/generate/generate_suite.h"
#include "golden/generate/suite_hashes.h"
#include "golden/suites/suite.h"
#include "verify/report/report.h"

namespace assay::cli {
namespace {

using golden::CaseOutcome;
using golden::CaseState;
using golden::Suite;
using golden::SuiteCase;

struct SuiteOptions {
  std::string name;
  std::string only;
  std::string folder;
  int jobs = 0;
  uint64_t memory_bytes = 0;
  bool force = false, quiet = false, compare = false;
  std::string json_path, hash_file;
};

double megabytes(uint64_t bytes) { return static_cast<double>(bytes) / 1e6; }

Suite chosen(const SuiteOptions& options) {
  return golden::selected(golden::load_suite(options.name), options.only);
}

std::string folder_of(const SuiteOptions& options, const Suite& suite) {
  return options.folder.empty() ? suite.name : options.folder;
}

void run_list(const SuiteOptions& options) {
  const Suite suite = chosen(options);
  if (!suite.about.empty()) fmt::print("{}\n\n", suite.about);
  fmt::print("{:<48} {:>12} {:<9} {:<8} {:>10} {:>12}\n", "case", "tokens", "data", "capture",
             "file MB", "memory MB");
  uint64_t file_bytes = 0, most = 0;
  for (const SuiteCase& c : suite.cases) {
    const uint64_t file = golden::estimated_file_bytes(c), live = golden::estimated_live_bytes(c);
    fmt::print("{:<48} {:>12} {:<9} {:<8} {:>10.2f} {:>12.2f}\n", c.name,
               fmt::format("[{},{}]", c.batch, c.positions), golden::data_name(c.settings.data),
               golden::capture_name(c.settings.capture), megabytes(file), megabytes(live));
    file_bytes += file;
    most = std::max(most, live);
  }
  fmt::print("\n{} cases, about {:.1f} MB in files, at most {:.1f} MB of memory for one\n",
             suite.cases.size(), megabytes(file_bytes), megabytes(most));
}

std::string outcome_line(const CaseOutcome& outcome) {
  switch (outcome.state) {
    case CaseState::written:
      return fmt::format("written     {:<48} {}  {:8.2f} MB {:7.2f} s{}", outcome.name,
                         outcome.root_hash, megabytes(outcome.bytes), outcome.seconds,
                         outcome.problem.empty() ? "" : "  (was " + outcome.problem + ")");
    case CaseState::up_to_date:
      return fmt::format("up to date  {:<48} {}", outcome.name, outcome.root_hash);
    case CaseState::failed:
      return fmt::format("FAILED      {}: {}", outcome.name, outcome.problem);
  }
  return outcome.name;
}

const char* state_name(CaseState state) {
  return state == CaseState::written      ? "written"
         : state == CaseState::up_to_date ? "up to date"
                                          : "failed";
}

std::string outcomes_json(const Suite& suite, const std::vector<CaseOutcome>& outcomes) {
  nlohmann::ordered_json json{{"assay_suite_run", 1}, {"suite", suite.name}, {"cases", {}}};
  for (const CaseOutcome& outcome : outcomes) {
    json["cases"].push_back({{"name", outcome.name},
                             {"state", state_name(outcome.state)},
                             {"path", outcome.path},
                             {"root_hash", outcome.root_hash},
                             {"bytes", outcome.bytes},
                             {"seconds", outcome.seconds},
                             {"problem", outcome.problem}});
  }
  return json.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

int run_generate(const SuiteOptions& options) {
  const Suite suite = chosen(options);
  golden::GenerateSuiteRequest request;
  request.folder = folder_of(options, suite);
  if (const golden::Output json{"--json", options.json_path}; !json.path.empty()) {
    std::vector<std::string> files{options.name};  // read or made, and neither is a report
    for (const SuiteCase& c : suite.cases) files.push_back(golden::case_path(request.folder, c));
    golden::require_apart({json}, files);
    golden::check_target(json.path, true, 0);
    golden::require_own(json, {"{\n \"assay_suite_run\""}, options.force);
  }
  request.jobs = options.jobs;
  request.memory_bytes = options.memory_bytes;
  request.force = options.force;
  int counts[3] = {};
  SuiteProgress progress(suite.cases.size(), options.quiet);
  request.ended = [&](const CaseOutcome& outcome, uint64_t done, uint64_t total) {
    ++counts[static_cast<int>(outcome.state)];
    progress.ended(outcome_line(outcome), done, total);
  };
  const std::vector<CaseOutcome> outcomes = golden::generate_suite(suite, request);
  if (!options.json_path.empty()) {
    verify::write_report(outcomes_json(suite, outcomes), options.json_path);
  }
  const int failed = counts[static_cast<int>(CaseState::failed)];
  if (!options.quiet) {
    fmt::print("suite {} in {}: {} cases, {} written, {} up to date, {} failed, {:.1f} s\n",
               suite.name, request.folder, outcomes.size(),
               counts[static_cast<int>(CaseState::written)],
               counts[static_cast<int>(CaseState::up_to_date)], failed, progress.seconds());
  }
  for (const CaseOutcome& outcome : outcomes) {
    if (outcome.state == CaseState::failed) {
      fmt::print(stderr, "assay suite: {} failed: {}\n", outcome.name, outcome.problem);
    }
  }
  return failed > 0 ? 2 : 0;
}

std::string committed_text(const SuiteOptions& options) {
  if (options.hash_file.empty()) {
    const std::string text = golden::committed_hashes(options.name);
    if (!text.empty()) return text;
    throw InputError(
        fmt::format("suite {}: no root hashes are committed for it; name a file with --hash-file",
                    options.name));
  }
  return golden::read_text(options.hash_file, "a file of root hashes");
}

int run_hashes(const SuiteOptions& options) {
  const Suite suite = chosen(options);
  const std::vector<golden::CaseHash> hashes = golden::suite_hashes(suite, options.jobs);
  if (!options.compare) {
    fmt::print("{}", golden::hash_lines(hashes));
    return 0;
  }
  const auto committed = golden::parse_hash_lines(
      committed_text(options),
      options.hash_file.empty() ? "suite " + suite.name : options.hash_file);
  const std::vector<std::string> differences =
      golden::differing_hashes(suite, hashes, committed, options.only.empty(), options.folder);
  for (const std::string& line : differences) fmt::print("{}\n", line);
  if (!options.quiet) {
    fmt::print("suite {}: {} cases, {} differ from the committed root hashes\n", suite.name,
               hashes.size(), differences.size());
  }
  return differences.empty() ? 0 : 1;
}

CLI::App* add_action(CLI::App& suite, const char* name, const char* about, SuiteOptions& options) {
  CLI::App* action = suite.add_subcommand(name, about);
  action
      ->add_option(
          "suite", options.name,
          fmt::format("{}, or a file ending in .json", fmt::join(golden::suite_names(), ", ")))
      ->required();
  add_only_option(*action, options.only, "cases to take, e.g. '1-llama-*'");
  return action;
}

void add_jobs(CLI::App& action, SuiteOptions& options) {
  action.add_option("--jobs", options.jobs, "cases at once at most; default: one a core")
      ->check(CLI::PositiveNumber);
}

}  // namespace

void add_suite(CLI::App& app, Outcome& outcome) {
  CLI::App* suite = app.add_subcommand("suite", "make or judge a whole list of golden files");
  suite->require_subcommand(1);
  auto options = std::make_shared<SuiteOptions>();

  CLI::App* list =
      add_action(*suite, "list", "show the cases with estimates of their size", *options);
  list->callback([options] { run_list(*options); });

  CLI::App* generate =
      add_action(*suite, "generate", "write the golden files that are not up to date", *options);
  generate->add_option("--dir", options->folder,
                       "folder of the golden files; default: the suite's name");
  add_jobs(*generate, *options);
  generate
      ->add_option("--memory", options->memory_bytes,
                   "bytes that the cases at once may take, e.g. 2G; default: 3/4 of what is free")
      ->transform(CLI::AsSizeValue(false));
  generate->add_flag("--force", options->force, "make files again that are up to date");
  generate->add_flag("--quiet", options->quiet, "print errors only");
  generate->add_option("--json", options->json_path, "JSON list of the outcomes to write");
  generate->callback([options, &outcome] { outcome.exit_code = run_generate(*options); });

  add_suite_verify(*suite, outcome);
  add_suite_bundle(*suite, outcome);

  CLI::App* hashes =
      add_action(*suite, "hashes", "print the root hash of every case, computed here", *options);
  add_jobs(*hashes, *options);
  hashes->add_flag("--compare", options->compare,
                   "compare with the committed ones instead; 1: differ");
  hashes->add_option("--hash-file", options->hash_file,
                     "file of committed ones; default: the suite's own");
  hashes->add_option("--dir", options->folder, "golden files that say which tensor differs");
  hashes->add_flag("--quiet", options->quiet, "print differences only");
  hashes->callback([options, &outcome] { outcome.exit_code = run_hashes(*options); });
}

}  // namespace assay::cli
