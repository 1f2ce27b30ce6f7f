// The runs of lockstep training and all that they showed, for the report.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "golden/contract/config.h"
#include "verify/lockstep/due_step.h"
#include "verify/lockstep/lockstep.h"
#include "verify/lockstep/stale_weights.h"
#include "verify/lockstep/step_gradient.h"
#include "verify/lockstep/step_rows.h"
#include "verify/statistics/tolerance.h"

namespace assay::verify {

// Whether a step's gradients are those of older weights.
struct SeenStaleness {
  int64_t step = 2;
  StepView view = StepView::own;  // or forced; accumulated where the own state is not known
  bool of_first = false;          // of the first step's weights; else of the step before
  bool by_gradients = true;       // else by the loss alone
  Staleness seen;

  // Errors of weights that add up lean one way together: against the reference's run only all of
  // the way is older weights.
  bool is_stale() const {
    return view == StepView::accumulated ? seen.is_of_older() : seen.is_stale();
  }
};

class LockstepRun {
 public:
  LockstepRun(const golden::GoldenReader& golden, TrainingSubject& subject,
              const LockstepOptions& options);

  void run();

  const StepRows& rows() const { return rows_; }
  const LockstepRule& rule() const { return rule_; }
  const AnalyticTolerance& tolerance() const { return tolerance_; }
  StepPlace place(int64_t step) const;  // from 1
  // What a step started from, in the run of that view; nullptr: not known.
  const TrainingState* state_before(StepView view, int64_t step) const;
  const TrainedStep* handed(StepView view, int64_t step) const;
  const StepGradient& gradient(int64_t step) const;  // of the reference's run
  // What the reference makes of that state, and of each micro-batch by itself.
  StepGradient gradient_from(int64_t step, const TrainingState& before) const {
    return gradient_at(step, before.weights);
  }
  std::vector<StepGradient> micro_gradients(int64_t step, const Tensors& weights) const;
  // What other masks would give.
  StepGradient masked_gradient(int64_t step, const Tensors& weights, const MaskPlace& place,
                               const reference::Dropout& dropout) const {
    return GradientSource(config_, rule_.arithmetic, rule_.reach, dropout)
        .of(weights, batches_[static_cast<std::size_t>(step - 1)], place);
  }
  const reference::Dropout& dropout() const { return options_.dropout; }
  int64_t steps() const { return options_.steps; }
  const std::vector<std::string>& faults() const { return faults_; }  // of what was handed over
  const std::set<std::string>& missing() const { return missing_; }   // names of StepRows
  const std::vector<std::string>& widened() const { return widened_; }
  const std::vector<SeenStaleness>& staleness() const { return staleness_; }
  int64_t skipped() const { return skipped_; }        // steps that overflowed
  int64_t clipped_steps() const { return clipped_; }  // of the reference's run
  // Of each run, with the judgement of its steps; the free one has the reference's run in it.
  double forced_seconds() const { return forced_.seconds; }
  double free_seconds() const { return free_.seconds; }
  // Tensors of steps, each by step and name, that a run did not hand over.
  int64_t lacking() const { return static_cast<int64_t>(lacking_.size()); }

 private:
  struct JudgedRun {
    std::vector<TrainedStep> steps;
    std::vector<TrainingState> before;  // of each; without weights: not known
    double seconds = 0;
  };

  void reference_run();
  void free_run();
  void forced_run();
  TrainedStep taken(int64_t step, const TrainingState& before);
  void check_handed(int64_t step, TrainedStep& handed);
  TrainedStep counted(int64_t step, TrainedStep handed);
  void judge(StepView view, StepView update, int64_t step, const TrainingState& before,
             const StepGradient& gradient, const TrainedStep& handed);
  void look_for_stale(StepView view, int64_t step, const StepGradient& gradient,
                      const TrainedStep& handed);
  void judge_own(int64_t step, const TrainedStep& handed);
  void judge_accumulated(int64_t step, const TrainedStep& handed, StateDeviations& deviations);
  StepGradient gradient_at(int64_t step, const Tensors& weights,
                           const GradientSource::WeightDeviation& deviation = {},
                           bool sampled = false) const;

  const golden::ModelConfig config_;
  const Batch batch_;
  TrainingSubject& subject_;
  const LockstepOptions& options_;
  const AnalyticTolerance tolerance_;
  const LockstepRule rule_;
  const GradientSource source_;
  std::vector<std::vector<Batch>> batches_;
  std::vector<TrainingState> states_;  // of the reference's run, before each step
  std::vector<StepGradient> gradients_;
  StepRows rows_;
  JudgedRun free_, forced_;
  std::vector<std::string> faults_, widened_;
  std::vector<SeenStaleness> staleness_;
  std::set<std::string> missing_;
  std::set<std::pair<int64_t, std::string>> lacking_;
  bool accused_ = false;  // in a view that starts from a known state, with sampled errors
  int64_t skipped_ = 0, clipped_ = 0;
};

}  // namespace assay::verify
