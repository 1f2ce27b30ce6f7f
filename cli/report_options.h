// The forms in which a command hands over its report: the same options and the same writer for all.
#pragma once

#include <string>

#include "cli/command.h"
#include "verify/report/report.h"

namespace assay::cli {

struct ReportOptions {
  std::string html_path, json_path, junit_path;  // "" writes none
  bool quiet = false;
};

// --report, --json, --junit, --quiet.
void add_report_options(CLI::App& command, ReportOptions& options);

// Writes the files that were asked for.
void write_reports(const verify::RunReport& report, const ReportOptions& options);

// Prints the report unless --quiet, writes the files, and returns the exit code of its checks.
int conclude(const verify::RunReport& report, const ReportOptions& options, const Outcome& outcome);

}  // namespace assay::cli
