#include "verify/lockstep/step_divergence.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "golden/contract/names.h"
#include "verify/lockstep/step_explanation.h"

namespace assay::verify {

std::string row_name(const StepRow& row) { return fmt::format("step/{}/{}", row.step, row.name); }

std::string started_from(StepView view) {
  switch (view) {
    case StepView::forced:
      return "from the reference's state of the step";
    case StepView::forced_update:
      return "from its own gradients and moments, in a step from the reference's state";
    case StepView::own:
      return "from its own state before the step";
    case StepView::own_update:
      return "from its own gradients and moments, in a step from its own state";
    case StepView::accumulated:
      return "against the reference's run";
  }
  return "";
}

std::string stale_text(const SeenStaleness& stale) {
  const char* of = stale.of_first ? "the first step" : "the step before";
  const std::string slope = fmt::format("{:.2f} of the way to them, expected 0 +- {:.2g}",
                                        stale.seen.slope, stale.seen.bound);
  if (!stale.seen.is_of_older()) {
    return fmt::format("step {}: {} off towards {} of the weights of {}: {}", stale.step,
                       stale.by_gradients ? "gradients go" : "the loss goes",
                       stale.by_gradients ? "those" : "that", of, slope);
  }
  return fmt::format(
      "step {}: {} of the weights of {}: {}: the weights that the optimizer holds do not reach the "
      "model",
      stale.step, stale.by_gradients ? "gradients are those" : "the loss is that", of, slope);
}

namespace {

std::string slope_text(const std::string& kind, const Slope& slope) {
  return fmt::format(
      "{} {:.3g} times what is due, expected 1 +- {:.2g}: all elements together, "
      "each within its bound",
      kind == "first/" ? "comes from a gradient of" : "goes", 1 + slope.value,
      std::max(2 * slope.bound, 0.25));
}

struct Fresh {
  const StepRow* row = nullptr;
  StepView view = StepView::forced;
};

std::optional<Fresh> first_fresh_in(const StepRows& rows, bool forced) {
  for (const StepRow* row : rows.all()) {
    for (const StepView view : kAllStepViews) {
      if (is_forced(view) == forced && rows.is_fresh(*row, view)) return Fresh{row, view};
    }
  }
  return std::nullopt;
}

// The first step, and in it the first tensor, that is wrong by itself. A step that is right in the
// free run, the first one of the subject's life, and wrong in the forced one has something in it
// from a step before: the free run tells from which on.
std::optional<Fresh> first_fresh(const StepRows& rows) {
  const std::optional<Fresh> forced = first_fresh_in(rows, true);
  const std::optional<Fresh> own = first_fresh_in(rows, false);
  if (forced && own) {
    const bool right_before = forced->row->step < own->row->step && forced->row->in(StepView::own);
    return right_before || own->row->step < forced->row->step ? own : forced;
  }
  if (forced || own) return forced ? forced : own;
  for (const StepRow* row : rows.all()) {
    if (row->outside(StepView::accumulated) && !row->in(StepView::own)) {
      return Fresh{row, StepView::accumulated};
    }
  }
  return std::nullopt;
}

std::string elsewhere(const LockstepRun& run, const Fresh& fresh) {
  int64_t inherited = 0, others = 0;
  for (const StepRow* row : run.rows().all()) {
    bool is_fresh = false, is_outside = false;
    for (const StepView view : kAllStepViews) {
      is_outside = is_outside || row->outside(view);
      is_fresh = is_fresh || run.rows().is_fresh(*row, view);
    }
    if (row == fresh.row || !is_outside) continue;
    ++(is_fresh ? others : inherited);
  }
  std::string text;
  if (others > 0) text += fmt::format("{} other tensors of steps are wrong by themselves", others);
  if (inherited > 0) {
    text += fmt::format("{}{} have their error from others", text.empty() ? "" : ", ", inherited);
  }
  return text;
}

// Where one of the two runs alone shows it.
std::string alone_in(const LockstepRun& run, const Fresh& fresh) {
  if (fresh.view == StepView::accumulated || !fresh.row->in(StepView::own)) return "";
  bool in_forced = false, in_own = false;
  for (const StepRow* row : run.rows().all()) {
    for (const StepView view : kAllStepViews) {
      if (!run.rows().is_fresh(*row, view)) continue;
      (is_forced(view) ? in_forced : in_own) = true;
    }
  }
  if (in_forced && in_own) return "";
  return in_own ? "with the reference's state given before every step it does not show: it is in "
                  "what stays between steps"
                : "from its own state it does not show: it is in how a state is taken over";
}

// The first step that reads older weights; the free run, whose first step is that of the subject's
// life, before the forced one.
const SeenStaleness* first_stale(const LockstepRun& run) {
  const SeenStaleness* first = nullptr;
  for (const SeenStaleness& stale : run.staleness()) {
    if (stale.is_stale() && (first == nullptr || stale.step < first->step)) first = &stale;
  }
  return first;
}

// Where no tensor is wrong by itself.
void explain_stale(const LockstepRun& run, const LockstepOptions& options, LockstepResult& result) {
  const SeenStaleness* stale = first_stale(run);
  if (stale == nullptr) return;
  result.diverged =
      fmt::format("step/{}/{}", stale->step, run.rows().names()[stale->by_gradients ? 1 : 0]);
  result.diagnosis = stale_text(*stale);
  result.first_divergence = {
      fmt::format("FAIL step {}: {} within its bound", stale->step,
                  stale->by_gradients ? "gradients of all weights, each" : "the loss,"),
      "     " + result.diagnosis, "     again: " + options.command};
}

}  // namespace

void name_divergence(const LockstepRun& run, const LockstepOptions& options,
                     LockstepResult& result) {
  const std::optional<Fresh> fresh = first_fresh(run.rows());
  if (!fresh) return explain_stale(run, options, result);
  const StepRow& row = *fresh->row;
  const SeenTensor& seen = *row.in(fresh->view);
  result.diverged = row_name(row);
  const SeenStaleness* stale = first_stale(run);
  const std::string kind = parts_of(row.name).first;
  const bool reads_older = stale != nullptr && stale->seen.is_of_older() &&
                           stale->step <= row.step && (kind == "loss" || kind == "grad/");
  result.diagnosis = reads_older                   ? stale_text(*stale)
                     : seen.comparison.outside > 0 ? explanation_of(run, row, fresh->view)
                                                   : slope_text(kind, *seen.slope);
  std::vector<std::string>& lines = result.first_divergence;
  lines.push_back(fmt::format("FAIL step {}: {} {}  {} of {} outside, {}", row.step, row.name,
                              golden::shape_text(row.shape), seen.comparison.outside,
                              seen.comparison.compared, started_from(fresh->view)));
  if (seen.comparison.outside > 0) {
    lines.push_back(fmt::format("     first at element {}: due {:.9g}, got {:.9g}, bound {:.2g}",
                                seen.comparison.first, seen.due, seen.got, seen.bound));
  }
  if (!result.diagnosis.empty()) lines.push_back("     " + result.diagnosis);
  if (const std::string text = alone_in(run, *fresh); !text.empty()) {
    lines.push_back("     " + text);
  }
  if (const std::string text = elsewhere(run, *fresh); !text.empty()) {
    lines.push_back("     " + text);
  }
  lines.push_back("     again: " + options.command);
}

}  // namespace assay::verify
