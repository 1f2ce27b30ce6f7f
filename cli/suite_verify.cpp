#include "cli/suite_verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <system_error>

#include "cli/command_line.h"
#include "cli/judge.h"
#include "cli/process/memory.h"
#include "cli/report_options.h"
#include "cli/subjects.h"
#include "cli/suite_progress.h"
#include "golden/contract/error.h"
#include "golden/generate/generate_suite.h"

namespace assay::cli {
namespace {

using verify::Check;
using verify::Status;

struct SuiteVerifyOptions {
  std::string name, only, folder;
  std::string subject = "auto";
  std::vector<std::string> precisions;
  JudgeOptions judge;  // what of it concerns every case
  ReportOptions report;
};

// A report of one check: why the case could not be judged.
verify::RunReport unjudged(const JudgeOptions& options, const char* check, Status status,
                           const std::string& reason) {
  verify::RunReport report;
  report.command_line = judging_command(options);
  report.golden_path = options.golden_path;
  report.subject = options.subject;
  report.checks = {
      {.name = check, .status = status, .summary = reason, .details = {}, .seconds = 0}};
  return report;
}

verify::RunReport try_judge(const golden::SuiteCase& c, const JudgeOptions& options) {
  try {
    if (const std::string stale = golden::why_stale(c, options.golden_path); !stale.empty()) {
      return unjudged(
          options, "golden file", Status::inconclusive,
          fmt::format("{}: {}; 'assay suite generate' makes it", options.golden_path, stale));
    }
    return judge(options);
  } catch (const Unsupported& reason) {
    return unjudged(options, "subject", Status::skipped, reason.what());
  } catch (const NoDevice& reason) {
    verify::RunReport report = unjudged(options, "subject", Status::skipped, reason.what());
    report.checks[0].wants_device = true;
    return report;
  } catch (const InputError& problem) {  // of this case: the command line was checked before
    return unjudged(options, "case", Status::inconclusive, problem.what());
  } catch (const std::exception& error) {
    if (is_want_of_memory(error)) {
      return unjudged(options, "memory", Status::inconclusive,
                      fmt::format("not enough memory, which is not the subject's fault: needs "
                                  "about {} MB, {}",
                                  (golden::estimated_live_bytes(c) >> 20) + 1, memory_text()));
    }
    if (dynamic_cast<const std::system_error*>(&error) != nullptr) {  // of files
      return unjudged(options, "case", Status::inconclusive, error.what());
    }
    return unjudged(options, "subject", Status::fail,
                    fmt::format("{} threw: {}", options.subject, error.what()));
  }
}

}  // namespace

verify::RunReport judge_case(const golden::SuiteCase& c, const std::string& folder,
                             const std::string& subject, golden::Precision precision,
                             const CaseOptions& how) {
  const auto start = std::chrono::steady_clock::now();
  JudgeOptions options;
  options.golden_path = golden::case_path(folder, c);
  options.subject = subject;
  options.precision = precision;
  options.left_out = c.settings.left_out;
  options.equal = c.settings.equal;
  options.elsewhere = how.elsewhere;
  options.required = how.required;
  options.strict = how.strict;
  options.decoding = how.decoding;
  options.modes = how.modes || c.settings.modes;
  verify::RunReport report = try_judge(c, options);
  report.title = fmt::format("{} {}", c.name, golden::precision_name(precision));
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

namespace {

std::string counts_text(const std::vector<Check>& checks) {
  std::string text;
  for (const Status status :
       {Status::pass, Status::fail, Status::untrusted, Status::inconclusive, Status::skipped}) {
    const auto n = std::count_if(checks.begin(), checks.end(),
                                 [&](const Check& check) { return check.status == status; });
    if (n > 0) text += fmt::format(", {} {}", n, verify::status_name(status));
  }
  return text;
}

int run_verify(const SuiteVerifyOptions& options, const Outcome& outcome) {
  const golden::Suite suite = golden::selected(golden::load_suite(options.name), options.only);
  const std::string folder = options.folder.empty() ? suite.name : options.folder;
  std::vector<std::string> inputs{options.name, file_behind(options.subject),
                                  options.judge.elsewhere.map};
  for (const golden::SuiteCase& c : suite.cases) inputs.push_back(golden::case_path(folder, c));
  check_report_targets(options.report, inputs);
  require_subject(options.subject, options.judge.elsewhere);
  std::vector<golden::Precision> wanted;
  for (const std::string& text : options.precisions) {
    wanted.push_back(golden::parse_precision(text));
  }
  verify::RunReport report;
  report.title = fmt::format("suite {}, {}", suite.name, options.subject);
  report.command_line = outcome.command_line;
  report.golden_path = folder;
  report.subject = options.subject;
  const auto precisions_of = [&](const golden::SuiteCase& c) -> const auto& {
    return wanted.empty() ? c.settings.precisions : wanted;
  };
  uint64_t total = 0, done = 0;
  for (const golden::SuiteCase& c : suite.cases) {
    total += precisions_of(c).size() * golden::estimated_live_bytes(c);
  }
  SuiteProgress progress(suite.cases.size(), options.report.quiet);
  for (const golden::SuiteCase& c : suite.cases) {
    std::string lines;
    for (const golden::Precision precision : precisions_of(c)) {
      verify::add_case(
          report, judge_case(c, folder, options.subject, precision,
                             {options.judge.elsewhere, options.judge.required, options.judge.strict,
                              options.judge.decoding, options.judge.modes}));
      lines += verify::check_text(report.checks.back(), outcome.colour);
      done += golden::estimated_live_bytes(c);
    }
    lines.pop_back();  // the last end of line
    progress.ended(lines, done, total);
  }
  report.seconds = progress.seconds();
  const Status verdict = verify::overall(report.checks);
  if (!options.report.quiet) {
    fmt::print("suite {} on {}: {} verdicts{}; {:.1f} s\nverdict: {}{}\n", suite.name,
               options.subject, report.checks.size(), counts_text(report.checks), report.seconds,
               verify::status_name(verdict),
               verdict == Status::skipped ? ": what is skipped is not a pass" : "");
  }
  write_reports(report, options.report);
  return verify::exit_code(report.checks);
}

}  // namespace

void add_suite_verify(CLI::App& suite, Outcome& outcome) {
  CLI::App* command = suite.add_subcommand("verify", "judge a subject on every case");
  auto options = std::make_shared<SuiteVerifyOptions>();
  command
      ->add_option(
          "suite", options->name,
          fmt::format("{}, or a file ending in .json", fmt::join(golden::suite_names(), ", ")))
      ->required();
  add_only_option(*command, options->only, "cases to take, e.g. '1-llama-*'");
  command->add_option("--dir", options->folder,
                      "folder of the golden files; default: the suite's name");
  add_subject_option(*command, options->subject);
  command->add_option("--precision", options->precisions,
                      "storage types judged for; default: those that each case names");
  add_elsewhere_options(*command, options->judge.elsewhere);
  add_part_options(*command, options->judge);
  add_decode_option(*command, options->judge);
  add_modes_option(*command, options->judge);
  add_report_options(*command, options->report);
  command->callback([options, &outcome] { outcome.exit_code = run_verify(*options, outcome); });
}

}  // namespace assay::cli
