// What a run found, and the forms it is told in. All say the same: a text for the terminal, HTML
// for people, JSON and JUnit for machines.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "verify/leakage/influence.h"
#include "verify/numerics/checkpoint_row.h"
#include "verify/report/side_by_side.h"
#include "verify/verdict.h"

namespace assay::verify {

struct RunReport {
  std::string title;
  std::string command_line;            // that gives this report
  std::string golden_path, root_hash;  // "" where the run has no golden file
  std::string config_json;
  std::string method;
  uint64_t seed = 0;
  std::string subject;
  std::vector<Check> checks;
  std::vector<CheckpointRow> rows;            // in execution order
  std::string diverged;                       // name of the first divergence; "" if there is none
  std::vector<std::string> first_divergence;  // block of lines; empty if there is none
  std::string diagnosis;
  std::optional<InfluenceMatrix> influence;
  double seconds = 0;            // of the whole run; 0 where only its checks are timed
  std::vector<RunReport> cases;  // of a suite, or of several candidates: each a run of its own
  std::optional<SideBySide> side_by_side;  // of several candidates
};

// "3 of 84 checkpoints judged" where a part was handed over; else "".
std::string part_text(const RunReport& report);

// Adds a case to a suite's report, and one check of the case's title: its verdict, what it
// compared, and every check of it that is no pass.
void add_case(RunReport& suite, RunReport report);

// Lines of one check: status, name, summary, time, then its details.
std::string check_text(const Check& check, bool colour);

// The first divergence stands in the details of the check that found it. Where dependences alone
// were judged, an influence map of up to 64 positions is shown. Of a suite its checks are shown, of
// several candidates the table too.
std::string terminal_text(const RunReport& report, bool colour);

// The whole report as one JSON object, "assay_report" its format's number; each case is such an
// object. Ratios that are not finite are null, and so are path and hash without a golden file.
std::string json_text(const RunReport& report);

// A suite of checks and one of checkpoints; of a report with cases, one for each case, with its
// checks and checkpoints; of several candidates also one of their conclusion and differences. Only
// pass is a passed test: untrusted and inconclusive are errors, and a run without a check has a
// test of its own that fails.
std::string junit_text(const RunReport& report);

// One page that needs nothing else: no script, no font, no network.
std::string html_text(const RunReport& report);

// Writes text to path, through a file beside it, so that a reader never sees half a report.
// Throws InputError when it cannot.
void write_report(const std::string& text, const std::string& path);

}  // namespace assay::verify
