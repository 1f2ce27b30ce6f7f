#include "verify/judge/numerics.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>

#include "verify/diagnosis/diagnosis.h"
#include "verify/diagnosis/divergence.h"
#include "verify/judge/gradients.h"
#include "verify/judge/modes.h"
#include "verify/judge/parts.h"
#include "verify/judge/slope_check.h"
#include "verify/judge/stopwatch.h"
#include "verify/judge/untapped.h"
#include "verify/judge/view_checks.h"
#include "verify/numerics/ledger_check.h"
#include "verify/numerics/views.h"
#include "verify/subjects/bindings.h"

namespace assay::verify {
namespace {

void finish_rows(std::vector<CheckpointRow>& rows, const Ledger& ledger) {
  for (CheckpointRow& row : rows) {
    row.fault = ledger.fault_of(row.name);
    if (ledger.absent().contains(row.name)) {
      row.status = Status::skipped;
      row.note = "not judged: it was not handed over";
      continue;
    }
    for (const Finding& finding : ledger.findings()) {
      if (finding.name == row.name) row.note += (row.note.empty() ? "" : "; ") + finding.message;
    }
    const bool wrong = row.fault != Fault::none || !row.compared || !row.local_compared ||
                       row.free_outside > 0 || row.local_outside > 0 || !(row.slope_ratio <= 1);
    row.status = wrong ? Status::fail : row.note.empty() ? Status::pass : Status::untrusted;
  }
}

std::string find_cause(const Case& file, const golden::PrecisionSchedule& schedule,
                       const LocalInputs& inputs, const Ledger& ledger, const Failure& failure) {
  const Cut cut{
      .given = inputs.replaced,
      .value =
          [&](const reference::NodeData& node) {
            return node.op == nullptr ? file.bindings(node) : inputs.value(node.name);
          },
      .error = [&](const std::string& name,
                   const reference::Array& value) { return inputs.error(schedule, name, value); },
      .weight_error =
          [&](const reference::NodeData& weight, const reference::Array& value) {
            return file.weight_error(schedule.storage, weight, value);
          }};
  const int at = file.graph->find(failure.name);
  // A loss that fails was compared.
  const auto undefined = file.undefined.is_loss_of_them(failure.name)
                             ? std::function<bool(int64_t)>()
                             : not_compared(file, ledger, file.graph->node(at));
  return diagnose(*file.graph, cut, at, schedule, failure.candidate, undefined);
}

// Everything one comparison works with.
struct Run {
  Run(const golden::GoldenReader& golden_file, Subject& judged, const NumericsOptions& chosen)
      : options(chosen),
        subject(judged),
        schedule(judged.precision()),
        settles_all(judged.capabilities().can_force ||
                    golden_file.capture() != golden::Capture::full),
        file(
            golden_file, chosen.pattern, chosen.left_out,
            [&judged](const std::string& name) { return judged.computes(name); },
            judged.gives_a_part(), !judged.capabilities().can_run),
        ledger(file.asked, judged.describe()),
        forced_ledger(file.asked, judged.describe() + ", forced"),
        golden(golden_file),
        rows(file, judged),
        kept(file),
        decoding(file, judged, kept, chosen.decoding, chosen.modes, chosen.command),
        modes(file, judged, kept, chosen.command),
        tolerance(schedule, file.elements(), chosen.false_alarm_rate) {
    const Demands demands{.part = judged.gives_a_part(),
                          .strict = chosen.strict,
                          .required = file.required(chosen.required)};
    for (Ledger* each : {&ledger, &forced_ledger}) {
      each->tolerate(file.undemanded);
      each->demand(demands);
    }
  }

  const NumericsOptions& options;
  Subject& subject;
  const golden::PrecisionSchedule schedule;
  // Golden values that are forced, or made again, are at hand after the free-running view.
  const bool settles_all;
  const Case file;
  Ledger ledger, forced_ledger;
  GoldenValues golden;
  Rows rows;
  KeptValues kept;
  DecodingJudge decoding;
  ModesJudge modes;
  const WatchFree watch = [this](const FreeComparison& seen) {
    if (options.modes || decoding.wants(seen.row.name)) kept.keep(seen);
    if (options.watch) options.watch(seen);
  };
  const AnalyticTolerance tolerance;
  LocalInputs inputs;
  std::optional<Failure> free_failure, local_failure;
  std::vector<Slope> slopes;
  NumericsResult result;
};

void compare_free(Run& run) {
  Stopwatch watch;
  run.ledger.check_origin(std::to_string(run.file.golden.header().seed),
                          run.file.golden.config_hash(), run.subject);
  run_subject(run.file, run.subject, {}, run.ledger);
  const double run_seconds = watch.lap();
  run.free_failure =
      free_running_view(run.file, run.schedule, run.tolerance, run.subject.capabilities().can_force,
                        nullptr, run.ledger, run.golden, run.rows, run.watch);
  for (CheckpointRow& row : run.rows.all()) {
    if (row.note.empty()) row.note = run.file.initial_weights(row.name);
    row.dtype = run.ledger.judged_as(row.name, run.subject.dtype_of(row.name));
  }
  book_nothing(run.rows.all(), run.ledger);
  run.result.checks = {
      ledger_check(run.file, run.rows.all(), run.ledger, run.subject.notes(), run_seconds),
      free_check(run.rows.all(), run.tolerance, run.golden, run.ledger.is_of_a_part(),
                 watch.lap())};
}

// What a dump hands over may be roundings of what the candidate computed with: values that a fused
// kernel kept in registers, or a computation in a wider type. What is outside only because of that
// is no defect, and no pass either.
void doubt_roundings(Run& run) {
  std::vector<std::string> outside;
  for (const CheckpointRow& row : run.rows.all()) {
    if (row.local_outside > 0) outside.push_back(row.name);
  }
  run.inputs.held_wider = true;
  run.local_failure = local_view(run.file, run.schedule, run.inputs, run.ledger, run.rows);
  for (const std::string& name : outside) {
    CheckpointRow& row = *run.rows.find(name);
    if (row.local_outside > 0) continue;
    row.note += fmt::format(
        "{}right only if its inputs were held wider than {}, in which they are handed over; dump "
        "what is computed with, or judge it under its own --precision",
        row.note.empty() ? "" : "; ", golden::precision_name(run.schedule.storage));
  }
}

// Autocast hands some tensors over in float32 that products read in 16 bits.
void say_what_is_read_narrower(Run& run, Check& check) {
  const golden::Precision storage = run.schedule.storage;
  const auto wider =
      std::count_if(run.rows.all().begin(), run.rows.all().end(), [&](const CheckpointRow& row) {
        return row.local_compared && row.dtype == golden::DType::float32 &&
               golden::unit_roundoff(run.schedule.storage_of(row.name)) >
                   golden::unit_roundoff(golden::Precision::fp32);
      });
  if (!run.inputs.read_narrower || wider == 0) return;
  check.details.push_back(
      fmt::format("{} tensors are handed over in float32: bounds allow for what reads them rounded "
                  "to {}",
                  wider, golden::precision_name(storage)));
}

void compare_local(Run& run) {
  Stopwatch watch;
  const bool can_force = run.subject.capabilities().can_force;
  if (can_force) {
    run.inputs = forced_inputs(run.file, run.schedule, run.golden);
    run_forced(run.file, run.subject, run.inputs, run.forced_ledger);
    run.inputs = with_own_attention(run.inputs, run.schedule, run.forced_ledger);
  } else {
    run.inputs = own_inputs(run.schedule, run.ledger);
  }
  run.local_failure = local_view(run.file, run.schedule, run.inputs,
                                 can_force ? run.forced_ledger : run.ledger, run.rows);
  if (run.local_failure && !can_force) doubt_roundings(run);
  run.result.checks.push_back(local_check(run.rows.all(), run.inputs.described,
                                          can_force ? &run.forced_ledger : nullptr,
                                          run.ledger.is_of_a_part(), watch.lap()));
  say_what_is_read_narrower(run, run.result.checks.back());
}

// Before a candidate is accused of nothing but the errors that it inherits, these are sampled.
void look_again_at_free(Run& run) {
  if (!run.free_failure || run.local_failure || first_outside(run.slopes) != nullptr) return;
  Stopwatch watch;
  SampledNoise noise(run.file, run.schedule, run.golden);
  run.free_failure =
      free_running_view(run.file, run.schedule, run.tolerance, run.subject.capabilities().can_force,
                        &noise, run.ledger, run.golden, run.rows, run.watch);
  Check check =
      free_check(run.rows.all(), run.tolerance, run.golden, run.ledger.is_of_a_part(), watch.lap());
  check.details.insert(
      check.details.begin(),
      fmt::format(
          "errors are not independent here: {} runs with sampled roundings give up to {:.2g} "
          "times as much at {}, and that is allowed",
          noise.runs(), noise.largest_factor(), noise.largest_at()));
  check.seconds += run.result.checks[1].seconds;
  run.result.checks[1] = std::move(check);
}

void compare_slopes(Run& run) {
  Stopwatch watch;
  const bool can_force = run.subject.capabilities().can_force;
  run.slopes = slope_view(run.file, run.schedule, run.options.false_alarm_rate, run.inputs,
                          can_force ? run.forced_ledger : run.ledger);
  if (run.slopes.empty()) return;
  run.result.checks.push_back(slope_check(run.slopes, run.inputs.described, watch.lap()));
  for (const Slope& slope : run.slopes) run.rows.find(slope.name)->slope_ratio = slope.ratio();
}

// Of a checkpoint whose elements are all within their bounds.
void explain_slope(Run& run) {
  const Slope* slope = first_outside(run.slopes);
  if (slope == nullptr) return;
  run.result.diverged = slope->name;
  run.result.first_divergence = {
      slope_text(*slope, run.inputs.described),
      "     every element is within its bound, all together are not: a gain, or a norm's eps",
      fmt::format("     again: {} --only /{}", run.options.command, slope->name)};
}

void explain(Run& run) {
  const bool local = run.local_failure.has_value();
  if (!local && !run.free_failure) return explain_slope(run);
  Divergence divergence{.view = local ? View::local : View::free,
                        .failure = local ? &*run.local_failure : &*run.free_failure,
                        .inputs = &run.inputs,
                        .forced = run.subject.capabilities().can_force,
                        .bound_why = run.tolerance.reason(),
                        .diagnosis = ""};
  if (local && run.options.diagnose) {
    divergence.diagnosis = find_cause(
        run.file, run.schedule, run.inputs,
        run.subject.capabilities().can_force ? run.forced_ledger : run.ledger, *run.local_failure);
  }
  NumericsResult& result = run.result;
  result.diverged = divergence.failure->name;
  result.diagnosis = divergence.diagnosis;
  result.first_divergence = divergence_block(run.file, run.schedule, run.golden, run.rows.all(),
                                             divergence, run.options.command);
  std::vector<std::string>& details = result.checks[local ? 2 : 1].details;
  details.insert(details.begin(), result.first_divergence.begin(), result.first_divergence.end());
}

void compare_tensors(Run& run) {
  compare_free(run);
  compare_local(run);
  compare_slopes(run);
  look_again_at_free(run);
  explain(run);
  if (run.subject.capabilities().can_run_untapped) {
    run.result.checks.push_back(untapped_check(run.file, run.subject, run.ledger));
  }
  finish_rows(run.rows.all(), run.ledger);
}

// After the tensors: a divergence of those comes first.
void compare_gradients(Run& run) {
  NumericsResult& result = run.result;
  if (run.file.gradients.empty() || !run.subject.capabilities().can_grad) {
    const std::string why = why_gradients_are_not_judged(run.file, run.subject);
    const std::set<std::string> required = run.file.required(run.options.required);
    const auto first = std::find_if(required.begin(), required.end(), is_gradient);
    if (first != required.end()) {
      result.checks.push_back({.name = "gradients",
                               .status = Status::fail,
                               .summary = fmt::format("missing: {} is required; {}", *first, why),
                               .details = {}});
      return;
    }
    if (why.empty()) return;
    if (result.checks.empty()) {  // nothing else was asked for
      result.checks = {
          {.name = "gradients", .status = Status::skipped, .summary = why, .details = {}}};
    } else {
      result.checks[0].details.push_back(why);
    }
    return;
  }
  GradientsResult gradients =
      verify_gradients(run.file, run.subject, run.ledger, run.golden, run.options);
  result.checks.insert(result.checks.end(), gradients.checks.begin(), gradients.checks.end());
  result.rows.insert(result.rows.end(), gradients.rows.begin(), gradients.rows.end());
  if (!result.diverged.empty()) return;
  result.diverged = gradients.diverged;
  result.first_divergence = std::move(gradients.first_divergence);
}

// Where the run itself is outside nothing is gained by wider bounds.
std::function<Widen()> widening(const Run& run, std::optional<SampledNoise>& noise) {
  return [&]() -> Widen {
    if (run.free_failure || run.local_failure) return {};
    if (!noise) noise.emplace(run.file, run.schedule, run.golden);
    return [&noise](const std::string& name, const reference::Array& deviation) {
      return noise->widened(name, deviation);
    };
  };
}

void compare_decoding(Run& run, const std::function<Widen()>& widen) {
  NumericsResult& result = run.result;
  std::optional<Check> check = run.decoding.judge(run.ledger, widen);
  const std::string& why_not = run.decoding.why_not();
  if (check) {
    result.checks.push_back(std::move(*check));
  } else if (!why_not.empty() && run.subject.capabilities().can_run && !result.checks.empty()) {
    result.checks[0].details.push_back("decoding: not judged: " + why_not);
  }
  if (!result.diverged.empty() || run.decoding.diverged().empty()) return;
  result.diverged = run.decoding.diverged();
  result.first_divergence = run.decoding.first_divergence();
}

void compare_modes(Run& run, const std::function<Widen()>& widen) {
  if (!run.options.modes) return;
  NumericsResult& result = run.result;
  ModesResult modes = run.modes.judge(run.ledger, widen);
  for (Check& check : modes.checks) result.checks.push_back(std::move(check));
  if (!result.diverged.empty() || modes.diverged.empty()) return;
  result.diverged = modes.diverged;
  result.first_divergence = std::move(modes.first_divergence);
}

}  // namespace

NumericsResult verify_numerics(const golden::GoldenReader& golden, Subject& subject,
                               const NumericsOptions& options) {
  require_weights_in(golden, subject.precision().storage);
  Run run(golden, subject, options);
  if (!run.file.asked.empty() || run.file.gradients.empty()) {
    compare_tensors(run);
  } else {  // gradients alone, which are judged from the subject's own tensors too
    run_subject(run.file, run.subject, {}, run.ledger);
  }
  NumericsResult& result = run.result;
  result.z = run.tolerance.z();
  result.allowance = run.tolerance.allowance();
  result.regenerated = run.golden.regenerated();
  for (const CheckpointRow& row : run.rows.all()) {
    result.elements += row.compared ? row.elements : 0;
    result.max_sigmas = std::max(result.max_sigmas, row.free_sigmas);
  }
  result.rows = std::move(run.rows.all());
  compare_gradients(run);
  // Last of all: a program that dies of it has been judged in everything else.
  std::optional<SampledNoise> noise;
  const auto widen = widening(run, noise);
  compare_modes(run, widen);
  compare_decoding(run, widen);
  result.ledger = std::make_shared<const Ledger>(std::move(run.ledger));
  return std::move(result);
}

}  // namespace assay::verify
