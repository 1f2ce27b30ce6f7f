// The forms in which a command hands over its report: the same options and the same writer for all.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"
#include "verify/report/report.h"

namespace assay::cli {

struct ReportOptions {
  std::string html_path, json_path, junit_path;  // "" writes none
  bool force = false;                            // replaces files that are no reports
  bool quiet = false;
};

// --report, --json, --junit, --force, --quiet.
void add_report_options(CLI::App& command, ReportOptions& options);

// What can be known about the files before the work that they tell of. Throws InputError for one
// that cannot be written, is one of the command's inputs, or is somebody else's without --force.
void check_report_targets(const ReportOptions& options, const std::vector<std::string>& inputs);

// Writes the files that were asked for.
void write_reports(const verify::RunReport& report, const ReportOptions& options);

// Prints the report unless --quiet, writes the files, and returns the exit code of its checks.
int conclude(const verify::RunReport& report, const ReportOptions& options, const Outcome& outcome);

}  // namespace assay::cli
