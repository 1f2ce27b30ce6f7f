#include "cli/report_options.h"

#include <fmt/format.h>

#include "golden/file/files.h"

namespace assay::cli {

void add_report_options(CLI::App& command, ReportOptions& options) {
  command.add_option("--report", options.html_path, "HTML report to write");
  command.add_option("--json", options.json_path, "JSON report to write");
  command.add_option("--junit", options.junit_path, "JUnit report to write");
  command.add_flag("--force", options.force, "replace existing files that are no reports");
  command.add_flag("--quiet", options.quiet, "print nothing but errors");
}

void check_report_targets(const ReportOptions& options, const std::vector<std::string>& inputs) {
  struct Target {
    golden::Output output;
    std::vector<std::string> beginnings;  // of what a command of this program writes there
  };
  const std::vector<Target> targets{
      {{"--report", options.html_path}, {"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset"}},
      {{"--json", options.json_path}, {"{\n \"assay_"}},
      {{"--junit", options.junit_path},
       {"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"assay: "}}};
  std::vector<golden::Output> outputs;
  for (const Target& target : targets) outputs.push_back(target.output);
  golden::require_apart(outputs, inputs);
  for (const Target& target : targets) {
    if (target.output.path.empty()) continue;
    golden::check_target(target.output.path, true, 0);
    golden::require_own(target.output, target.beginnings, options.force);
  }
}

void write_reports(const verify::RunReport& report, const ReportOptions& options) {
  const auto write = [&](const std::string& path, std::string (*text)(const verify::RunReport&)) {
    if (!path.empty()) verify::write_report(text(report), path);
  };
  write(options.html_path, verify::html_text);
  write(options.json_path, verify::json_text);
  write(options.junit_path, verify::junit_text);
}

int conclude(const verify::RunReport& report, const ReportOptions& options,
             const Outcome& outcome) {
  if (!options.quiet) fmt::print("{}", verify::terminal_text(report, outcome.colour));
  write_reports(report, options);
  return verify::exit_code(report.checks);
}

}  // namespace assay::cli
