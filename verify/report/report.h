// What a run found, and the forms it is told in. All say the same: a text for the terminal, HTML
// for people, JSON and JUnit for machines.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "verify/leakage/influence.h"
#include "verify/numerics/checkpoint_row.h"
#include "verify/verdict.h"

namespace assay::verify {

struct RunReport {
  std::string title;
  std::string command_line;  // as typed
  std::string golden_path, root_hash;
  std::string config_json;
  std::string method;
  uint64_t seed = 0;
  std::string subject;
  std::vector<Check> checks;
  std::vector<CheckpointRow> rows;            // in execution order
  std::vector<std::string> first_divergence;  // block of lines; empty if there is none
  std::string diagnosis;
  std::optional<InfluenceMatrix> influence;
};

// Lines of one check: status, name, summary, time, then its details.
std::string check_text(const Check& check, bool colour);

// The first divergence stands in the details of the check that found it.
std::string terminal_text(const RunReport& report, bool colour);

// The whole report as one JSON object, "assay_report" its format's number. Ratios that are not
// finite are null.
std::string json_text(const RunReport& report);

// A suite of checks and one of checkpoints. Only pass is a passed test: untrusted and inconclusive
// are errors, and a run without a check has a test of its own that fails.
std::string junit_text(const RunReport& report);

// One page that needs nothing else: no script, no font, no network.
std::string html_text(const RunReport& report);

// Writes text to path, through a file beside it, so that a reader never sees half a report.
// Throws InputError when it cannot.
void write_report(const std::string& text, const std::string& path);

}  // namespace assay::verify
