#include "verify/judge/view_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "verify/numerics/ledger_check.h"

namespace assay::verify {
namespace {

struct Tally {
  int64_t compared = 0, failed = 0, untrusted = 0, elements = 0;
  const CheckpointRow* worst = nullptr;
};

template <class Compared, class Outside, class Ratio>
Tally tally(const std::vector<CheckpointRow>& rows, Compared compared, Outside outside,
            Ratio ratio) {
  Tally sum;
  for (const CheckpointRow& row : rows) {
    if (!(row.*compared)) continue;
    ++sum.compared;
    sum.elements += row.elements;
    sum.failed += row.*outside > 0;
    sum.untrusted += !row.note.empty();
    if (sum.worst == nullptr || row.*ratio > sum.worst->*ratio) sum.worst = &row;
  }
  return sum;
}

Status status_of_view(const Tally& sum, bool part) {
  if (sum.compared == 0 && part) return Status::inconclusive;
  if (sum.compared == 0 || sum.failed > 0) return Status::fail;
  return sum.untrusted > 0 ? Status::untrusted : Status::pass;
}

// A line for each reason, with the first checkpoint that it holds for.
void list_untrusted(const std::vector<CheckpointRow>& rows, Check& check) {
  std::vector<const CheckpointRow*> firsts;
  std::map<std::string, int> times;
  for (const CheckpointRow& row : rows) {
    if (row.compared && !row.note.empty() && times[row.note]++ == 0) firsts.push_back(&row);
  }
  for (const CheckpointRow* row : firsts) {
    const int others = times[row->note] - 1;
    check.details.push_back(fmt::format("untrusted: {}{}: {}", row->name,
                                        others > 0 ? fmt::format(" and {} more", others) : "",
                                        row->note));
  }
}

// Errors grow along the way and the free-running bounds with them: how much they let through.
void list_blind_spot(const std::vector<CheckpointRow>& rows, Check& check) {
  const auto widest = std::max_element(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    return a.relative_bound < b.relative_bound;
  });
  if (widest == rows.end() || !widest->compared) return;
  check.details.push_back(
      fmt::format("widest bound: {:.2g} of the values' rms at {}; a smaller deviation there is the "
                  "local view's to find",
                  widest->relative_bound, widest->name));
}

}  // namespace

Check free_check(const std::vector<CheckpointRow>& rows, const Tolerance& tolerance,
                 const GoldenValues& golden, bool part, double seconds) {
  const Tally sum = tally(rows, &CheckpointRow::compared, &CheckpointRow::free_outside,
                          &CheckpointRow::free_ratio);
  Check check{.name = "numerics: free-running", .summary = {}, .details = {}, .seconds = seconds};
  check.status = status_of_view(sum, part);
  check.summary = fmt::format("{} of {} checkpoints outside, {} elements, bound {}", sum.failed,
                              sum.compared, sum.elements, tolerance.reason());
  if (sum.worst != nullptr) {
    check.summary +=
        fmt::format("; largest error / bound {:.3g} at {}", sum.worst->free_ratio, sum.worst->name);
  }
  if (golden.regenerated() > 0) {
    check.details.push_back(
        fmt::format("golden file regenerated {} tensors, hashes equal", golden.regenerated()));
  }
  if (const int64_t stored = golden.settled() - golden.regenerated();
      stored > golden.reproduced()) {
    check.details.push_back(
        fmt::format("{} of {} stored golden tensors have other bits than this build's reference "
                    "gives: products engine, libm or version differs",
                    stored - golden.reproduced(), stored));
  }
  list_blind_spot(rows, check);
  list_untrusted(rows, check);
  return check;
}

Check local_check(const std::vector<CheckpointRow>& rows, const std::string& inputs,
                  const Ledger* forced, bool part, double seconds) {
  const Tally sum = tally(rows, &CheckpointRow::local_compared, &CheckpointRow::local_outside,
                          &CheckpointRow::local_ratio);
  Check check{.name = "numerics: local", .summary = {}, .details = {}, .seconds = seconds};
  check.status = status_of_view(sum, part);
  check.summary = fmt::format("{} of {} checkpoints outside, each from {}, worst-case bounds",
                              sum.failed, sum.compared, inputs);
  if (sum.worst != nullptr) {
    check.summary += fmt::format("; largest error / bound {:.3g} at {}", sum.worst->local_ratio,
                                 sum.worst->name);
  }
  if (forced != nullptr && !forced->findings().empty()) {
    check.status = Status::fail;
    check.details = messages(*forced);
  }
  list_untrusted(rows, check);
  return check;
}

}  // namespace assay::verify
