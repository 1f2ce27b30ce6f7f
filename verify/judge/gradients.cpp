#include "verify/judge/gradients.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "golden/contract/error.h"
#include "verify/gradients/gradient_divergence.h"
#include "verify/gradients/gradient_views.h"
#include "verify/numerics/ledger_check.h"
#include "verify/subjects/program.h"

namespace assay::verify {
namespace {

using Seconds = std::chrono::duration<double>;

// One comparison of gradients.
struct GradientRun {
  GradientRun(const Case& judged_file, Subject& judged, const Ledger& forward, GoldenValues& values,
              const NumericsOptions& chosen)
      : file(judged_file),
        schedule(judged.precision()),
        tensors(forward),
        golden(values),
        options(chosen),
        handed(judged_file, judged, judged_file.required(chosen.required)) {}

  int64_t elements() {
    int64_t sum = 0;
    for (const CheckpointRow& row : handed.rows()) sum += row.elements;
    return sum;
  }

  const Case& file;
  const golden::PrecisionSchedule schedule;
  const Ledger& tensors;
  GoldenValues& golden;
  const NumericsOptions& options;
  HandedGradients handed;
  std::optional<Failure> free_failure, local_failure;
  std::vector<std::string> widened;  // where sampled noise was looked at
};

std::string widened_text(const char* view, const RowNoise& noise) {
  return fmt::format(
      "{}: errors are not independent here: {} runs with sampled roundings give up to {:.2g} times "
      "as much at {}, and that is allowed",
      view, RowNoise::kRuns, noise.largest_factor(), noise.largest_at());
}

// Before gradients are accused, errors that are not independent are sampled.
void look(GradientRun& run, const Tolerance& tolerance) {
  run.free_failure = free_gradients(run.file, run.schedule, tolerance, nullptr, run.tensors,
                                    run.handed, run.golden);
  run.local_failure =
      local_gradients(run.file, run.schedule, tolerance, nullptr, run.tensors, run.handed);
  if (run.local_failure) {
    RowNoise noise = local_gradient_noise(run.file, run.schedule, own_gradients(run.handed));
    run.local_failure =
        local_gradients(run.file, run.schedule, tolerance, &noise, run.tensors, run.handed);
    run.widened.push_back(widened_text("local", noise));
  }
  if (run.free_failure) {
    RowNoise noise = free_gradient_noise(run.file, run.schedule);
    run.free_failure = free_gradients(run.file, run.schedule, tolerance, &noise, run.tensors,
                                      run.handed, run.golden);
    run.widened.push_back(widened_text("free-running", noise));
  }
}

Check gradient_ledger(GradientRun& run, double seconds) {
  const std::vector<CheckpointRow>& rows = run.handed.rows();
  const auto compared = std::count_if(rows.begin(), rows.end(), [](const CheckpointRow& row) {
    return row.compared || row.local_compared;
  });
  Ledger& ledger = run.handed.ledger();
  if (compared == 0) {
    ledger.report({Fault::nothing, "",
                   fmt::format("not one of {} gradients was compared", run.file.gradients.size())});
  }
  Check check{.name = "gradients: ledger", .summary = {}, .details = {}, .seconds = seconds};
  check.status = ledger.findings().empty() ? Status::pass : Status::fail;
  check.summary = fmt::format("{} declared, {} compared, {} of weights and {} of tensors",
                              run.file.gradients.size(), compared, run.handed.weights(),
                              static_cast<int64_t>(rows.size()) - run.handed.weights());
  if (!ledger.findings().empty()) {
    check.summary += fmt::format(", {} faults", ledger.findings().size());
  }
  check.details = shortened_messages(ledger);
  if (static_cast<int64_t>(rows.size()) == run.handed.weights()) {
    check.details.push_back(
        "of weights alone: a defect is found at the parameter nearest to the "
        "loss that it reaches");
  }
  return check;
}

struct SeenRows {
  int64_t compared = 0, outside = 0, untrusted = 0, elements = 0, zero = 0;
  const CheckpointRow *worst = nullptr, *widest = nullptr;
};

SeenRows look_at_rows(const std::vector<CheckpointRow>& rows, bool CheckpointRow::*compared,
                      int64_t CheckpointRow::*outside, double CheckpointRow::*ratio) {
  SeenRows seen;
  for (const CheckpointRow& row : rows) {
    seen.untrusted += !row.note.empty();
    if (!(row.*compared)) continue;
    ++seen.compared;
    seen.elements += row.elements;
    seen.outside += row.*outside > 0;
    seen.zero += row.golden_rms == 0;
    if (seen.worst == nullptr || !(row.*ratio <= seen.worst->*ratio)) seen.worst = &row;
    if (seen.widest == nullptr || row.relative_bound > seen.widest->relative_bound) {
      seen.widest = &row;
    }
  }
  return seen;
}

Status status_of_gradients(const SeenRows& seen) {
  if (seen.outside > 0) return Status::fail;
  if (seen.untrusted > 0) return Status::untrusted;
  return seen.compared == 0 ? Status::fail : Status::pass;
}

// That of the loss by itself is 1 in every implementation.
bool shows_nothing(const std::vector<CheckpointRow>& rows) {
  return std::all_of(rows.begin(), rows.end(), [](const CheckpointRow& row) {
    return row.golden_rms == 0 || row.name == std::string(kGrad) + "loss";
  });
}

void list_notes(const std::vector<CheckpointRow>& rows, Check& check) {
  const auto noted = std::count_if(rows.begin(), rows.end(),
                                   [](const CheckpointRow& row) { return !row.note.empty(); });
  const auto first = std::find_if(rows.begin(), rows.end(),
                                  [](const CheckpointRow& row) { return !row.note.empty(); });
  if (first == rows.end()) return;
  check.details.push_back(fmt::format("untrusted: {}{}: {}", first->name,
                                      noted > 1 ? fmt::format(" and {} more", noted - 1) : "",
                                      first->note));
}

Check free_gradient_check(GradientRun& run, const Tolerance& tolerance) {
  const std::vector<CheckpointRow>& rows = run.handed.rows();
  const SeenRows seen = look_at_rows(rows, &CheckpointRow::compared, &CheckpointRow::free_outside,
                                     &CheckpointRow::free_ratio);
  Check check{.name = "gradients: free-running", .summary = {}, .details = {}};
  check.status = status_of_gradients(seen);
  check.summary = fmt::format("{} of {} gradients outside, {} elements, bound {}", seen.outside,
                              seen.compared, seen.elements, tolerance.reason());
  if (seen.worst != nullptr) {
    check.summary += fmt::format("; largest error / bound {:.3g} at {}", seen.worst->free_ratio,
                                 seen.worst->name);
  }
  if (check.status == Status::pass && shows_nothing(rows)) {
    check.status = Status::untrusted;
    check.details.emplace_back("untrusted: every golden gradient is 0: no label counts");
  } else if (seen.zero > 0) {
    check.details.push_back(fmt::format("{} golden gradients are 0 everywhere", seen.zero));
  }
  if (seen.widest != nullptr) {
    check.details.push_back(fmt::format("widest bound: {:.2g} of the values' rms at {}",
                                        seen.widest->relative_bound, seen.widest->name));
  }
  list_notes(rows, check);
  return check;
}

Check local_gradient_check(GradientRun& run) {
  const std::vector<CheckpointRow>& rows = run.handed.rows();
  SeenRows seen = look_at_rows(rows, &CheckpointRow::local_compared, &CheckpointRow::local_outside,
                               &CheckpointRow::local_ratio);
  const bool of_weights = static_cast<int64_t>(rows.size()) == run.handed.weights();
  Check check{.name = "gradients: local", .summary = {}, .details = run.widened};
  seen.untrusted = std::count_if(rows.begin(), rows.end(), [](const CheckpointRow& row) {
    return row.compared && !row.note.empty();
  });
  check.status = status_of_gradients(seen);
  check.summary = fmt::format("{} of {} gradients outside, each from the candidate's own tensors{}",
                              seen.outside, seen.compared,
                              of_weights ? "" : " and gradients nearer to the loss");
  if (seen.worst != nullptr) {
    check.summary += fmt::format("; largest error / bound {:.3g} at {}", seen.worst->local_ratio,
                                 seen.worst->name);
  }
  return check;
}

void finish_gradients(GradientRun& run) {
  const Ledger& ledger = run.handed.ledger();
  for (CheckpointRow& row : run.handed.rows()) {
    row.fault = ledger.fault_of(row.name);
    for (const Finding& finding : ledger.findings()) {
      if (finding.name == row.name) row.note += (row.note.empty() ? "" : "; ") + finding.message;
    }
    const bool wrong = row.fault != Fault::none || !row.local_compared || row.free_outside > 0 ||
                       row.local_outside > 0;
    row.status = wrong ? Status::fail : row.note.empty() ? Status::pass : Status::untrusted;
  }
}

void explain_gradients(GradientRun& run, const Tolerance& tolerance, GradientsResult& result) {
  const bool local = run.local_failure.has_value();
  if (!local && !run.free_failure) return;
  const Failure& failure = local ? *run.local_failure : *run.free_failure;
  result.diverged = failure.name;
  result.first_divergence = gradient_divergence_block(
      run.file, run.golden, run.handed,
      {.local = local, .failure = &failure, .bound_why = tolerance.reason()}, run.options.command);
  std::vector<std::string>& details = result.checks[local ? 2 : 1].details;
  details.insert(details.begin(), result.first_divergence.begin(), result.first_divergence.end());
}

}  // namespace

std::string why_gradients_are_not_judged(const Case& file, const Subject& subject) {
  const char* kNot = "gradients: not judged: ";
  if (!file.has_gradients())
    return kNot + std::string("the golden file has none (generate --grad)");
  if (file.gradients.empty()) return "";
  if (subject.capabilities().can_grad) return "";
  return fmt::format("{}the subject gives none of the {} that the golden file has", kNot,
                     file.gradients.size());
}

GradientsResult verify_gradients(const Case& file, Subject& subject, const Ledger& tensors,
                                 GoldenValues& golden, const NumericsOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  GradientsResult result;
  std::optional<GradientRun> run;
  try {
    run.emplace(file, subject, tensors, golden, options);
  } catch (const SubjectFailure& failure) {
    result.checks = {{.name = "gradients: ledger",
                      .status = Status::fail,
                      .summary = failure.what(),
                      .details = {}}};
    return result;
  }
  const auto ran = std::chrono::steady_clock::now();
  const AnalyticTolerance tolerance(run->schedule, run->elements(), options.false_alarm_rate);
  look(*run, tolerance);
  result.checks = {gradient_ledger(*run, Seconds(ran - start).count()),
                   free_gradient_check(*run, tolerance), local_gradient_check(*run)};
  result.checks[1].seconds = Seconds(std::chrono::steady_clock::now() - ran).count();
  explain_gradients(*run, tolerance, result);
  finish_gradients(*run);
  result.rows = std::move(run->handed.rows());
  return result;
}

}  // namespace assay::verify
