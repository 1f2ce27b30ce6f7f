// The report as lines for a terminal or a log.
#include <fmt/format.h>

#include "golden/contract/names.h"
#include "verify/report/influence_map.h"
#include "verify/report/report.h"

namespace assay::verify {
namespace {

const char* colour_of(Status status) {
  switch (status) {
    case Status::pass:
      return "\033[32m";
    case Status::fail:
      return "\033[31m";
    case Status::untrusted:
    case Status::inconclusive:
    case Status::skipped:
      return "\033[33m";
  }
  return "";
}

// The status in capitals where it is a verdict, padded to `width` columns.
std::string status_text(Status status, int width, bool colour) {
  const std::string padded = fmt::format("{:<{}}", status_name(status), width);
  return colour ? fmt::format("{}{}\033[0m", colour_of(status), padded) : padded;
}

}  // namespace

std::string check_text(const Check& check, bool colour) {
  std::string text = fmt::format("{} {:<22} {} ({:.2f} s)\n", status_text(check.status, 13, colour),
                                 check.name, golden::one_line(check.summary), check.seconds);
  for (const std::string& line : check.details) {
    text += fmt::format("    {}\n", golden::one_line(line));
  }
  return text;
}

std::string terminal_text(const RunReport& report, bool colour) {
  constexpr int64_t kMostPositions = 64;  // of a map that fits on a screen
  std::string text = golden::one_line(report.title) + "\n";
  if (!report.golden_path.empty()) {
    text += fmt::format("{}  root hash {}\n", report.golden_path, report.root_hash);
  }
  text += "\n";
  if (report.side_by_side) {
    for (const Candidate& one : report.side_by_side->candidates) {
      text += fmt::format("{}  {}\n", one.label, golden::one_line(one.subject));
    }
    text += fmt::format("\n{}\n", side_by_side_text(*report.side_by_side));
  }
  for (const Check& check : report.checks) text += check_text(check, colour);
  if (report.influence && report.rows.empty() && report.influence->positions <= kMostPositions) {
    text += '\n';
    text += influence_map_text(*report.influence);
  }
  const Status verdict = overall(report.checks);
  text += fmt::format("\nverdict: {}", status_text(verdict, 0, colour));
  if (verdict == Status::skipped) text += ": what is skipped is not a pass";
  if (const std::string part = part_text(report); !part.empty()) text += ": " + part;
  text += "\n";
  return text;
}

}  // namespace assay::verify
