#include "cli/report_options.h"

#include <fmt/format.h>

namespace assay::cli {

void add_report_options(CLI::App& command, ReportOptions& options) {
  command.add_option("--report", options.html_path, "HTML report to write");
  command.add_option("--json", options.json_path, "JSON report to write");
  command.add_option("--junit", options.junit_path, "JUnit report to write");
  command.add_flag("--quiet", options.quiet, "print nothing but errors");
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
