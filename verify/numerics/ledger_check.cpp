#include "verify/numerics/ledger_check.h"

#include <fmt/format.h>

#include <algorithm>

namespace assay::verify {

std::vector<std::string> messages(const Ledger& ledger) {
  std::vector<std::string> lines;
  for (const Finding& finding : ledger.findings()) {
    lines.push_back(fmt::format("{}: {}", fault_name(finding.fault), finding.message));
  }
  return lines;
}

void book_nothing(const std::vector<CheckpointRow>& rows, Ledger& ledger) {
  const bool any =
      std::any_of(rows.begin(), rows.end(), [](const CheckpointRow& row) { return row.compared; });
  if (any) return;
  ledger.report(
      {Fault::nothing, "", fmt::format("not one of {} checkpoints was compared", rows.size())});
}

Check ledger_check(const Case& file, const std::vector<CheckpointRow>& rows, const Ledger& ledger,
                   double seconds) {
  const auto compared = std::count_if(rows.begin(), rows.end(),
                                      [](const CheckpointRow& row) { return row.compared; });
  Check check{.name = "numerics: ledger", .summary = {}, .details = {}, .seconds = seconds};
  check.status = ledger.findings().empty() ? Status::pass : Status::fail;
  check.summary = fmt::format("{} checkpoints declared, {} compared, {} tensors handed over",
                              rows.size(), compared, ledger.taken());
  if (!ledger.findings().empty()) {
    check.summary += fmt::format(", {} faults", ledger.findings().size());
  }
  check.details = messages(ledger);
  if (const auto& absent = file.not_computed; !absent.empty()) {
    check.summary += fmt::format(", {} that the subject does not compute", absent.size());
    check.details.push_back(
        fmt::format("not judged, for the subject computes past them: {} checkpoints, first {}",
                    absent.size(), *absent.begin()));
  }
  return check;
}

}  // namespace assay::verify
