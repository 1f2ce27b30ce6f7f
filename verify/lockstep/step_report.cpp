#include "verify/lockstep/step_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "golden/contract/names.h"
#include "verify/lockstep/step_divergence.h"

namespace assay::verify {
namespace {

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
  return is_forced(stale.view) == forced && stale.seen.is_stale();
}

// What gradients of older weights would have shown.
void judge_staleness(const LockstepRun& run, bool forced, Check& check) {
  int64_t looked = 0, told = 0;
  for (const SeenStaleness& stale : run.staleness()) {
    if (is_forced(stale.view) != forced) continue;
    ++looked;
    told += stale.seen.tells();
    if (!is_stale_in(stale, forced)) continue;
    const bool is_known = check.status == Status::fail && !stale.seen.is_of_older();
    check.status = Status::fail;
    if (!is_known) check.details.push_back(stale_text(stale));
  }
  if (looked > told) {
    check.details.push_back(fmt::format(
        "gradients of older weights would show in {} of {} comparisons: a larger --lr tells more",
        told, looked));
  }
}

Check forced_check(const LockstepRun& run) {
  Check check =
      view_check("training: forced", run.rows(), {StepView::forced},
                 "each step from the reference's state, bound " + run.tolerance().reason());
  if (sums_of(run.rows(), {StepView::forced}).open > 0 && check.status == Status::pass) {
    check.status = Status::untrusted;
    check.details.emplace_back("untrusted: error analysis has no finite bound for some gradients");
  }
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

Check update_check(const LockstepRun& run) {
  const std::vector<StepView> views{StepView::forced_update, StepView::own_update};
  Check check = view_check("training: update", run.rows(), views,
                           "norm, moments and weights from its own gradients and moments, bounds "
                           "of a few roundings");
  if (check.status == Status::inconclusive) {
    check.status = Status::pass;  // the other views judge the update, by wider bounds
    check.summary = "not told apart: neither gradients nor moments are handed over";
  }
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
  const std::map<std::string, std::string> words{{"loss", "the loss"},
                                                 {"grad/", "gradients"},
                                                 {"grad_norm", "the gradients' norm"},
                                                 {"first/", "first moments"},
                                                 {"second/", "second moments"},
                                                 {"weight/", "weights"}};
  std::vector<std::string> lines;
  for (const auto& [kind, names] : missing) {
    const bool none = names.size() == all[kind].size();
    lines.push_back(fmt::format("not judged: {}{}", words.at(kind),
                                none ? ", of which it hands over none"
                                     : fmt::format(": {} of {} were not handed over, {} among them",
                                                   names.size(), all[kind].size(), names.front())));
  }
  return lines;
}

Check ledger_check(const LockstepRun& run, const LockstepOptions& options) {
  Check check{.name = "training: ledger", .summary = {}, .details = {}};
  const auto names = static_cast<int64_t>(run.rows().names().size());
  const auto missing = static_cast<int64_t>(run.missing().size());
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
  check.summary = fmt::format("{} steps of {} micro-batches, {} of {} tensors a step handed over",
                              options.steps, options.micro_batches, names - missing, names);
  if (missing == names) {
    check.status = Status::fail;
    check.details.emplace_back("nothing of a step was handed over");
  }
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
