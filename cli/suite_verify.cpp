#include "cli/suite_verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "cli/judge.h"
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
  bool quiet = false;
  std::string json_path, junit_path;
};

std::string one_line(const verify::RunReport& report) {
  int64_t checkpoints = 0, elements = 0;
  double free = 0, local = 0;
  for (const verify::CheckpointRow& row : report.rows) {
    checkpoints += row.compared;
    elements += row.compared ? row.elements : 0;
    free = std::max(free, row.free_ratio);
    local = std::max(local, row.local_ratio);
  }
  std::string text = fmt::format("{} checkpoints, {} elements", checkpoints, elements);
  if (free > 0 || local > 0) {
    text += fmt::format("; largest error / bound {:.3g} free-running, {:.3g} local", free, local);
  }
  return text;
}

// What is told of a case: a line when it passes, else the checks that did not and why.
void tell(const verify::RunReport& report, Check& check) {
  check.status = verify::overall(report.checks);
  check.summary = one_line(report);
  for (const Check& part : report.checks) {
    if (part.status == Status::pass) continue;
    check.details.push_back(
        fmt::format("{}: {}: {}", verify::status_name(part.status), part.name, part.summary));
    for (const std::string& line : part.details) check.details.push_back("  " + line);
  }
}

void judge_file(const golden::SuiteCase& c, const std::string& path, const std::string& subject,
                golden::Precision precision, Check& check) {
  const golden::GoldenReader golden(path);
  const auto judged = make_subject(subject, precision, golden.header().config, golden);
  verify::NumericsOptions options;
  options.left_out = c.settings.left_out;
  options.command = fmt::format("assay verify {} --subject {} --precision {}", path, subject,
                                golden::precision_name(precision));
  if (c.settings.equal) options.command += " --equal";
  for (const std::string& pattern : c.settings.left_out) {
    options.command += " --leave-out " + pattern;
  }
  tell(judge(golden, *judged, options, c.settings.equal), check);
}

}  // namespace

Check judge_case(const golden::SuiteCase& c, const std::string& folder, const std::string& subject,
                 golden::Precision precision) {
  const auto start = std::chrono::steady_clock::now();
  Check check{.name = fmt::format("{} {}", c.name, golden::precision_name(precision)),
              .status = Status::inconclusive,
              .summary = {},
              .details = {}};
  const std::string path = golden::case_path(folder, c);
  if (const std::string stale = golden::why_stale(c, path); !stale.empty()) {
    check.summary = fmt::format("{}: {}; 'assay suite generate' makes it", path, stale);
    return check;
  }
  try {
    judge_file(c, path, subject, precision, check);
  } catch (const Unsupported& reason) {
    check.status = Status::skipped;
    check.summary = reason.what();
  } catch (const NoDevice& reason) {
    check.status = Status::skipped;
    check.summary = reason.what();
  } catch (const InputError&) {
    throw;  // of the command line: the golden file is in order
  } catch (const std::exception& error) {
    check.status = Status::fail;
    check.summary = fmt::format("{} threw: {}", subject, error.what());
  }
  check.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return check;
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
  SuiteProgress progress(suite.cases.size(), options.quiet);
  for (const golden::SuiteCase& c : suite.cases) {
    std::string lines;
    for (const golden::Precision precision : precisions_of(c)) {
      report.checks.push_back(judge_case(c, folder, options.subject, precision));
      lines += verify::check_text(report.checks.back(), outcome.colour);
      done += golden::estimated_live_bytes(c);
    }
    lines.pop_back();  // the last end of line
    progress.ended(lines, done, total);
  }
  const Status verdict = verify::overall(report.checks);
  if (!options.quiet) {
    fmt::print("suite {} on {}: {} verdicts{}; {:.1f} s\nverdict: {}{}\n", suite.name,
               options.subject, report.checks.size(), counts_text(report.checks),
               progress.seconds(), verify::status_name(verdict),
               verdict == Status::skipped ? ": nothing was judged, which is not a pass" : "");
  }
  if (!options.json_path.empty())
    verify::write_report(verify::json_text(report), options.json_path);
  if (!options.junit_path.empty())
    verify::write_report(verify::junit_text(report), options.junit_path);
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
  command->add_option("--only", options->only, "cases to take, e.g. '1-llama-*'");
  command->add_option("--dir", options->folder,
                      "folder of the golden files; default: the suite's name");
  command
      ->add_option("--subject", options->subject,
                   "simt, cuda, reference or auto; options as in assay verify")
      ->capture_default_str();
  command->add_option("--precision", options->precisions,
                      "storage types judged for; default: those that each case names");
  command->add_option("--json", options->json_path, "JSON report to write");
  command->add_option("--junit", options->junit_path, "JUnit report to write");
  command->add_flag("--quiet", options->quiet, "print errors only");
  command->callback([options, &outcome] { outcome.exit_code = run_verify(*options, outcome); });
}

}  // namespace assay::cli
