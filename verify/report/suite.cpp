// The report of a suite, made of its cases' reports.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "verify/report/report.h"

namespace assay::verify {

std::string part_text(const RunReport& report) {
  const auto count = [&](const auto& is) {
    return std::count_if(report.rows.begin(), report.rows.end(), is);
  };
  if (count([](const CheckpointRow& row) { return row.status == Status::skipped; }) == 0) return "";
  return fmt::format("{} of {} checkpoints judged",
                     count([](const CheckpointRow& row) { return row.compared; }),
                     report.rows.size());
}
namespace {

// "52 checkpoints, 39564 elements; largest error / bound 0.31 free-running, 0.62 local"
std::string compared_text(const std::vector<CheckpointRow>& rows) {
  int64_t checkpoints = 0, elements = 0;
  double free = 0, local = 0;
  for (const CheckpointRow& row : rows) {
    checkpoints += row.compared;
    elements += row.compared ? row.elements : 0;
    free = std::max(free, row.free_ratio);
    local = std::max(local, row.local_ratio);
  }
  const bool all = checkpoints == static_cast<int64_t>(rows.size());
  std::string text = fmt::format("{}{} checkpoints, {} elements", checkpoints,
                                 all ? "" : fmt::format(" of {}", rows.size()), elements);
  if (free > 0 || local > 0) {
    text += fmt::format("; largest error / bound {:.3g} free-running, {:.3g} local", free, local);
  }
  return text;
}

Check case_check(const RunReport& report) {
  Check check{.name = report.title,
              .status = overall(report.checks),
              .summary = "",
              .details = {},
              .seconds = report.seconds};
  check.wants_device = std::any_of(report.checks.begin(), report.checks.end(),
                                   [](const Check& part) { return part.wants_device; });
  if (report.rows.empty() && report.checks.size() == 1) {  // the reason why it was not judged
    check.summary = report.checks[0].summary;
    check.details = report.checks[0].details;
    return check;
  }
  check.summary = compared_text(report.rows);
  for (const Check& part : report.checks) {
    if (part.status == Status::pass) continue;
    check.details.push_back(
        fmt::format("{}: {}: {}", status_name(part.status), part.name, part.summary));
    for (const std::string& line : part.details) check.details.push_back("  " + line);
  }
  return check;
}

}  // namespace

void add_case(RunReport& suite, RunReport report) {
  suite.checks.push_back(case_check(report));
  suite.cases.push_back(std::move(report));
}

}  // namespace assay::verify
