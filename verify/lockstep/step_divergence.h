// Where the runs of lockstep training first part, and where else.
#pragma once

#include <string>

#include "verify/lockstep/lockstep.h"
#include "verify/lockstep/lockstep_run.h"

namespace assay::verify {

inline constexpr StepView kAllStepViews[] = {StepView::forced_update, StepView::own_update,
                                             StepView::forced, StepView::own,
                                             StepView::accumulated};

inline bool is_forced(StepView view) {
  return view == StepView::forced || view == StepView::forced_update;
}

std::string row_name(const StepRow& row);  // "step/2/grad/lm_head.weight"
std::string started_from(StepView view);   // what a view's steps are made from
std::string stale_text(const SeenStaleness& stale);

// Fills `diverged`, `diagnosis` and `first_divergence` with the first tensor that is wrong by
// itself, or with the first step whose gradients are those of older weights.
void name_divergence(const LockstepRun& run, const LockstepOptions& options,
                     LockstepResult& result);

}  // namespace assay::verify
