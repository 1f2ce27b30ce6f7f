#include "verify/numerics/numerics.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "verify/numerics/diagnosis.h"
#include "verify/numerics/divergence.h"
#include "verify/numerics/views.h"

namespace assay::verify {
namespace {

class Stopwatch {
 public:
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - start_).count();
    start_ = now;
    return seconds;
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

std::vector<std::string> messages(const Ledger& ledger) {
  std::vector<std::string> lines;
  for (const Finding& finding : ledger.findings()) {
    lines.push_back(fmt::format("{}: {}", fault_name(finding.fault), finding.message));
  }
  return lines;
}

// Comparing nothing is a failure, whatever else was found.
void book_nothing(const std::vector<CheckpointRow>& rows, Ledger& ledger) {
  const bool any =
      std::any_of(rows.begin(), rows.end(), [](const CheckpointRow& row) { return row.compared; });
  if (any) return;
  ledger.report(
      {Fault::nothing, "", fmt::format("not one of {} checkpoints was compared", rows.size())});
}

Check ledger_check(const std::vector<CheckpointRow>& rows, const Ledger& ledger, double seconds) {
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
  return check;
}

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

Status status_of(const Tally& sum) {
  if (sum.compared == 0 || sum.failed > 0) return Status::fail;
  return sum.untrusted > 0 ? Status::untrusted : Status::pass;
}

void list_untrusted(const std::vector<CheckpointRow>& rows, Check& check) {
  for (const CheckpointRow& row : rows) {
    if (row.compared && !row.note.empty()) {
      check.details.push_back(fmt::format("untrusted: {}: {}", row.name, row.note));
    }
  }
}

Check free_check(const std::vector<CheckpointRow>& rows, const Tolerance& tolerance,
                 const GoldenValues& golden, double seconds) {
  const Tally sum = tally(rows, &CheckpointRow::compared, &CheckpointRow::free_outside,
                          &CheckpointRow::free_ratio);
  Check check{.name = "numerics: free-running", .summary = {}, .details = {}, .seconds = seconds};
  check.status = status_of(sum);
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
  list_untrusted(rows, check);
  return check;
}

Check local_check(const std::vector<CheckpointRow>& rows, const std::string& inputs,
                  const Ledger* forced, double seconds) {
  const Tally sum = tally(rows, &CheckpointRow::local_compared, &CheckpointRow::local_outside,
                          &CheckpointRow::local_ratio);
  Check check{.name = "numerics: local", .summary = {}, .details = {}, .seconds = seconds};
  check.status = status_of(sum);
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
  return check;
}

void finish_rows(std::vector<CheckpointRow>& rows, const Ledger& ledger) {
  for (CheckpointRow& row : rows) {
    row.fault = ledger.fault_of(row.name);
    for (const Finding& finding : ledger.findings()) {
      if (finding.name == row.name) row.note += (row.note.empty() ? "" : "; ") + finding.message;
    }
    const bool wrong = row.fault != Fault::none || !row.compared || !row.local_compared ||
                       row.free_outside > 0 || row.local_outside > 0;
    row.status = wrong ? Status::fail : row.note.empty() ? Status::pass : Status::untrusted;
  }
}

std::string find_cause(const Case& file, const golden::PrecisionSchedule& schedule,
                       const LocalInputs& inputs, const Failure& failure) {
  const Cut cut{.given = inputs.replaced, .value = [&](const reference::NodeData& node) {
                  return node.op == nullptr ? file.bindings(node) : inputs.value(node.name);
                }};
  return diagnose(*file.graph, cut, file.graph->find(failure.name), schedule, failure.candidate);
}

}  // namespace

NumericsResult verify_numerics(const golden::GoldenReader& golden_file, Subject& subject,
                               const NumericsOptions& options) {
  Stopwatch watch;
  const Case file(golden_file, options.pattern);
  const golden::PrecisionSchedule schedule = subject.precision();
  Ledger ledger(file.asked, subject.describe());
  ledger.tolerate(file.undemanded);
  ledger.check_origin(std::to_string(golden_file.header().seed), golden_file.config_hash(),
                      subject);
  subject.run(file.batch, {}, [&](Observed observed) {
    const golden::DType due = subject.dtype_of(observed.name);
    ledger.take(std::move(observed), due);
  });
  ledger.close();
  const double run_seconds = watch.lap();

  Rows rows(file, subject);
  GoldenValues golden(golden_file);
  const AnalyticTolerance tolerance(schedule, file.elements(), options.false_alarm_rate);
  const auto free_failure = free_running_view(file, schedule, tolerance, ledger, golden, rows);
  book_nothing(rows.all(), ledger);
  const double free_seconds = watch.lap();

  const bool can_force = subject.capabilities().can_force;
  Ledger forced_ledger(file.asked, subject.describe() + ", forced");
  forced_ledger.tolerate(file.undemanded);
  const LocalInputs inputs =
      can_force ? forced_inputs(file, schedule, golden) : own_inputs(schedule, ledger);
  if (can_force) run_forced(file, subject, inputs, forced_ledger);
  const auto local_failure =
      local_view(file, schedule, inputs, can_force ? forced_ledger : ledger, rows);

  NumericsResult result;
  const std::vector<CheckpointRow>& seen = rows.all();
  result.checks = {
      ledger_check(seen, ledger, run_seconds), free_check(seen, tolerance, golden, free_seconds),
      local_check(seen, inputs.described, can_force ? &forced_ledger : nullptr, watch.lap())};
  finish_rows(rows.all(), ledger);
  result.z = tolerance.z();
  result.allowance = tolerance.allowance();
  result.regenerated = golden.regenerated();
  for (const CheckpointRow& row : seen) {
    result.elements += row.compared ? row.elements : 0;
    result.max_sigmas = std::max(result.max_sigmas, row.free_sigmas);
  }
  if (local_failure || free_failure) {
    Divergence divergence{.view = local_failure ? View::local : View::free,
                          .failure = local_failure ? &*local_failure : &*free_failure,
                          .inputs = inputs.described,
                          .bound_why = tolerance.reason(),
                          .diagnosis = ""};
    if (local_failure && options.diagnose) {
      divergence.diagnosis = find_cause(file, schedule, inputs, *local_failure);
    }
    result.diverged = divergence.failure->name;
    result.diagnosis = divergence.diagnosis;
    result.first_divergence =
        divergence_block(file, schedule, golden, seen, divergence, options.command);
    Check& check = result.checks[local_failure ? 2 : 1];
    check.details.insert(check.details.begin(), result.first_divergence.begin(),
                         result.first_divergence.end());
  }
  result.rows = std::move(rows.all());
  return result;
}

}  // namespace assay::verify
