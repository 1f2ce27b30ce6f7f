#include "verify/lockstep/step_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "golden/contract/names.h"
#include "verify/lockstep/step_divergence.h"

namespace assay::verify {
namespace {

// Of what is handed over of a step, by the beginnings of its names.
const std::map<std::string, std::string> kKinds{{"loss", "the loss"},
                                                {"grad/", "gradients"},
                                                {"grad_norm", "the gradients' norm"},
                                                {"first/", "first moments"},
                                                {"second/", "second moments"},
                                                {"weight/", "weights"}};

// What a check tells of the views that it is made of.
struct ViewSums {
  int64_t compared = 0, outside = 0, inherited = 0, open = 0, elements = 0;
  const StepRow* worst = nullptr;
  double ratio = 0;
};

ViewSums sums_of(const StepRows& rows, const std::vector<StepView>& views) {
  ViewSums sums;
  for (const StepRow* row : rows.all()) {
    for (const StepView view : views) {
      if (!row->in(view)) continue;
      const SeenTensor& seen = *row->in(view);
      ++sums.compared;
      sums.elements += seen.comparison.compared;
      sums.open += seen.open;
      sums.outside += row->outside(view);
      sums.inherited += row->outside(view) && rows.inherits(*row, view);
      if (sums.worst == nullptr || !(seen.comparison.max_ratio <= sums.ratio)) {
        sums.worst = row;
        sums.ratio = seen.comparison.max_ratio;
      }
    }
  }
  return sums;
}

std::string sums_text(const ViewSums& sums) {
  std::string text = fmt::format("{} of {} tensors outside, {} elements", sums.outside,
                                 sums.compared, sums.elements);
  if (sums.inherited > 0) text += fmt::format(", {} by inheritance", sums.inherited);
  if (sums.worst != nullptr) {
    text += fmt::format("; largest error / bound {:.3g} at {}", sums.ratio, row_name(*sums.worst));
  }
  return text;
}

Check view_check(const char* name, const StepRows& rows, const std::vector<StepView>& views,
                 const std::string& how) {
  const ViewSums sums = sums_of(rows, views);
  Check check{.name = name, .summary = {}, .details = {}};
  check.status = sums.outside > 0    ? Status::fail
                 : sums.compared > 0 ? Status::pass
                                     : Status::inconclusive;
  check.summary = sums.compared == 0 ? "nothing was handed over that it could compare"
                                     : sums_text(sums) + "; " + how;
  return check;
}

bool is_stale_in(const SeenStaleness& stale, bool forced) {
  return is_forced(stale.view) == forced && stale.is_stale();
}

// What gradients of older weights would have shown.
void judge_staleness(const LockstepRun& run, bool forced, Check& check) {
  int64_t looked = 0, told = 0;
  bool by_gradients = true;
  for (const SeenStaleness& stale : run.staleness()) {
    if (is_forced(stale.view) != forced) continue;
    ++looked;
    by_gradients = by_gradients && stale.by_gradients;
    told += stale.seen.tells();
    if (!is_stale_in(stale, forced)) continue;
    const bool is_known = check.status == Status::fail && !stale.seen.is_of_older();
    check.status = Status::fail;
    if (!is_known) check.details.push_back(stale_text(stale));
  }
  if (looked > told) {
    check.details.push_back(fmt::format(
        "{} of older weights would show in {} of {} comparisons: a larger --lr tells more",
        by_gradients ? "gradients" : "the loss", told, looked));
  }
  if (looked > 0 && told == 0 && check.status == Status::pass) {
    check.status = Status::untrusted;
    check.details.emplace_back(
        "untrusted: the model may not read what the optimizer updates, and nothing would show");
  }
}

// Bounds as wide as what they are of: each element may be nearly anything, and only all of them
// together, by their slope, tell a gradient from none.
void judge_widths(const StepRows& rows, Check& check) {
  int64_t compared = 0, wide = 0, blind = 0;
  double widest = 0;
  const StepRow* widest_row = nullptr;
  for (const StepRow* row : rows.all()) {
    const auto& seen = row->in(StepView::forced);
    if (!seen || !seen->slope || !(seen->due_rms > 0)) continue;
    ++compared;
    wide += seen->is_wide();
    blind += seen->is_wide() && !seen->slope->tells();
    const double width = seen->bound_rms / seen->due_rms;
    if (widest_row != nullptr && width <= widest) continue;
    widest = width;
    widest_row = row;
  }
  if (compared == 0) return;
  check.details.push_back(
      fmt::format("widest bound of a gradient: {:.3g} times what is due, rms, at {}; above 1/2 in "
                  "{} of {} tensors",
                  widest, row_name(*widest_row), wide, compared));
  if (blind == 0) return;
  check.details.push_back(fmt::format(
      "in {} of them nothing of a gradient that is lost, or has another factor, would show",
      blind));
  if (check.status == Status::pass) check.status = Status::untrusted;
}

Check forced_check(const LockstepRun& run) {
  Check check =
      view_check("training: forced", run.rows(), {StepView::forced},
                 "each step from the reference's state, bound " + run.tolerance().reason());
  if (sums_of(run.rows(), {StepView::forced}).open > 0 && check.status == Status::pass) {
    check.status = Status::untrusted;
    check.details.emplace_back("untrusted: error analysis has no finite bound for some gradients");
  }
  judge_widths(run.rows(), check);
  for (const std::string& line : run.widened()) check.details.push_back(line);
  judge_staleness(run, true, check);
  return check;
}

// Errors that add up over steps accuse nobody where each step by itself is right.
Check free_views_check(const LockstepRun& run) {
  const StepRows& rows = run.rows();
  Check check =
      view_check("training: free-running", rows, {StepView::own}, "each step from its own state");
  const ViewSums grown = sums_of(rows, {StepView::accumulated});
  const ViewSums own = sums_of(rows, {StepView::own});
  const bool whole = own.compared == grown.compared;
  if (!whole) {
    check.status = own.outside + grown.outside > 0 ? Status::fail
                   : grown.compared > 0            ? Status::pass
                                                   : Status::inconclusive;
    check.summary = fmt::format("{}; against the reference's run, bounds grow with its errors",
                                sums_text(grown));
    if (own.compared > 0) {
      check.details.push_back(
          fmt::format("{} of {} tensors also from its own state", own.compared, grown.compared));
    }
    if (grown.open > 0 && check.status == Status::pass) {
      check.status = Status::untrusted;
      check.details.push_back(fmt::format(
          "untrusted: {} tensors have no finite bound left; a subject that hands over weights and "
          "moments is judged from its own state at every step",
          grown.open));
    }
    return check;
  }
  check.details.push_back("against the reference's run: " + sums_text(grown));
  if (grown.outside > 0 && check.status == Status::pass) {
    check.status = Status::untrusted;
    check.details.emplace_back(
        "untrusted: no step by itself is wrong, and errors add up to more than bounds allow");
  }
  return check;
}

Check free_check(const LockstepRun& run) {
  Check check = free_views_check(run);
  judge_staleness(run, false, check);
  return check;
}

bool has_update_of(const StepRows& rows, const std::string& kind) {
  const std::vector<const StepRow*> all = rows.all();
  return std::any_of(all.begin(), all.end(), [&](const StepRow* row) {
    return parts_of(row->name).first == kind &&
           (row->in(StepView::forced_update) || row->in(StepView::own_update));
  });
}

bool has_any_of(const LockstepRun& run, const std::string& kind) {
  const std::vector<std::string> names = run.rows().names();
  return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
    return parts_of(name).first == kind && !run.missing().contains(name);
  });
}

Check update_check(const LockstepRun& run) {
  const std::vector<StepView> views{StepView::forced_update, StepView::own_update};
  Check check = view_check("training: update", run.rows(), views,
                           "norm, moments and weights from its own gradients and moments, bounds "
                           "of a few roundings");
  if (check.status == Status::pass && !has_update_of(run.rows(), "weight/")) {
    check.status = Status::inconclusive;
  }
  if (check.status != Status::inconclusive) return check;
  std::vector<std::string> lacks;
  for (const auto& [kind, words] : kKinds) {
    if (kind.ends_with('/') && !has_any_of(run, kind)) lacks.push_back(words);
  }
  check.details.push_back(fmt::format(
      "inconclusive: no weight could be compared with what its own gradients or moments give; not "
      "handed over: {}",
      lacks.empty() ? "all of one weight in one step" : fmt::format("{}", fmt::join(lacks, ", "))));
  return check;
}

// "gradients, second moments: none of 20; weights: 1 of 20 missing (lm_head.weight)"
std::vector<std::string> missing_lines(const LockstepRun& run) {
  std::map<std::string, std::vector<std::string>> missing, all;
  for (const std::string& name : run.rows().names()) {
    const auto [kind, weight] = parts_of(name);
    all[kind].push_back(weight);
    if (run.missing().contains(name)) missing[kind].push_back(weight);
  }
  std::vector<std::string> lines;
  for (const auto& [kind, names] : missing) {
    const bool none = names.size() == all[kind].size();
    lines.push_back(fmt::format("not judged: {}{}", kKinds.at(kind),
                                none ? ", of which it hands over none"
                                     : fmt::format(": {} of {} were not handed over, {} among them",
                                                   names.size(), all[kind].size(), names.front())));
  }
  return lines;
}

// What bounds rest on: a subject that declares less is allowed more.
std::string arithmetic_text(const TrainingArithmetic& arithmetic) {
  const std::string epsilon = arithmetic.clip_epsilon
                                  ? fmt::format("{:g}", *arithmetic.clip_epsilon)
                                  : std::string("not declared, 0 or 1e-06");
  return fmt::format(
      "bounds are those of {}; weights and moments in {}, 1 - beta^n in {}, "
      "epsilon of clipping {}",
      golden::schedule_text(arithmetic.schedule), golden::precision_name(arithmetic.master),
      arithmetic.double_scalars ? "double" : "that type", epsilon);
}

Check ledger_check(const LockstepRun& run, const LockstepOptions& options) {
  Check check{.name = "training: ledger", .summary = {}, .details = {}};
  const auto names = static_cast<int64_t>(run.rows().names().size());
  check.details = run.faults();
  for (const std::string& pattern : options.required) {
    for (const std::string& name : run.missing()) {
      if (pattern != "all" && !golden::matches(pattern, name)) continue;
      check.details.push_back(name + ": required and not handed over");
      break;
    }
  }
  check.status = check.details.empty() ? Status::pass : Status::fail;
  constexpr std::size_t kMost = 8;
  if (check.details.size() > kMost) {
    const std::size_t others = check.details.size() - kMost;
    check.details.resize(kMost);
    check.details.push_back(fmt::format("and {} more", others));
  }
  const int64_t due = options.steps * names;
  const int64_t handed = due - run.lacking();
  check.summary = fmt::format("{} steps of {} micro-batches, {} of {} tensors handed over",
                              options.steps, options.micro_batches, handed, due);
  if (handed == 0) {
    check.status = Status::fail;
    check.details.emplace_back("nothing of a step was handed over");
  }
  check.details.push_back(arithmetic_text(run.rule().arithmetic));
  for (const std::string& line : missing_lines(run)) check.details.push_back(line);
  if (run.skipped() > 0) {
    check.details.push_back(
        fmt::format("{} steps overflowed, were skipped and asked for again", run.skipped()));
  }
  check.details.push_back(
      options.rule.max_norm > 0
          ? fmt::format("gradients are clipped to a norm of {:.4g} in {} of {} steps",
                        options.rule.max_norm, run.clipped_steps(), options.steps)
          : std::string("gradients are not clipped: clipping is not judged"));
  if (options.rule.weight_decay == 0) {
    check.details.emplace_back("no weight decays: decay is not judged");
  }
  return check;
}

CheckpointRow checkpoint_row(const LockstepRun& run, const StepRow& row) {
  CheckpointRow made;
  made.name = row_name(row);
  made.shape = row.shape;
  made.axes = std::string(row.shape.size(), 'D');
  made.dtype = dtype_of(run.rule().arithmetic.master);
  made.elements = golden::element_count(row.shape);
  made.golden_rms = row.due_rms;
  if (row.in(StepView::accumulated)) made.set_free(row.in(StepView::accumulated)->comparison);
  if (row.in(StepView::forced)) {
    made.local_compared = true;
    made.local_outside = row.in(StepView::forced)->comparison.outside;
    made.local_ratio = row.in(StepView::forced)->comparison.max_ratio;
  }
  bool wrong = false;
  for (const StepView view : kAllStepViews) {
    const bool outside = row.outside(view);
    if (outside && view != StepView::accumulated) {
      wrong = true;
      made.note +=
          fmt::format("{}{}{}", made.note.empty() ? "" : "; ",
                      run.rows().is_fresh(row, view) ? "wrong " : "inherited ", started_from(view));
    }
  }
  const bool alone = row.outside(StepView::accumulated) && !row.in(StepView::own);
  made.status = wrong || alone                         ? Status::fail
                : made.free_outside > 0                ? Status::untrusted
                : made.compared || made.local_compared ? Status::pass
                                                       : Status::inconclusive;
  return made;
}

}  // namespace

LockstepResult report_of(const LockstepRun& run, const LockstepOptions& options) {
  LockstepResult result;
  result.checks = {ledger_check(run, options), update_check(run), forced_check(run),
                   free_check(run)};
  for (const StepRow* row : run.rows().all()) result.rows.push_back(checkpoint_row(run, *row));
  name_divergence(run, options, result);
  if (!result.first_divergence.empty()) {
    const auto failed =
        std::find_if(result.checks.begin() + 1, result.checks.end(),
                     [](const Check& check) { return check.status == Status::fail; });
    if (failed != result.checks.end()) {
      failed->details.insert(failed->details.begin(), result.first_divergence.begin(),
                             result.first_divergence.end());
    }
  }
  return result;
}

}  // namespace assay::verify
