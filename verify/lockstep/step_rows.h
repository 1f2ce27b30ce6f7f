// What the views found out about every tensor of every step.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "verify/lockstep/due_step.h"
#include "verify/numerics/checkpoint_row.h"
#include "verify/statistics/compare.h"
#include "verify/subjects/training/training_subject.h"

namespace assay::verify {

enum class StepView {
  forced,         // from the reference's state of the step, against the reference
  forced_update,  // the same step: its update from its own gradients
  own,            // from the subject's own state, against what the reference makes of that
  own_update,     // the same step: its update from its own gradients
  accumulated     // from the subject's own state, against the reference's run
};
inline constexpr int kStepViews = 5;

struct SeenTensor {
  Comparison comparison;
  bool open = false;                   // an element without a finite bound is among them
  double due = 0, got = 0, bound = 0;  // at the first element outside
};

struct StepRow {
  int64_t step = 1;  // from 1
  std::string name;  // "grad/lm_head.weight"
  golden::Shape shape;
  double due_rms = 0;
  std::array<std::optional<SeenTensor>, kStepViews> seen;

  const std::optional<SeenTensor>& in(StepView view) const {
    return seen[static_cast<std::size_t>(view)];
  }
  bool outside(StepView view) const { return in(view) && in(view)->comparison.outside > 0; }
};

// What a subject handed over of a step, by the names of DueStep; it points into `step`.
class HandedStep {
 public:
  explicit HandedStep(const TrainedStep& step);
  const std::map<std::string, std::span<const double>>& tensors() const { return tensors_; }
  const std::span<const double>* find(const std::string& name) const;

 private:
  std::map<std::string, std::span<const double>> tensors_;
};

class StepRows {
 public:
  // order: of weights, from the loss backwards.
  explicit StepRows(std::vector<std::string> order) : order_(std::move(order)) {}

  // Compares what was handed over; what was seen in that view before is forgotten. Returns how many
  // tensors are outside.
  int64_t compare(StepView view, int64_t step, const DueStep& due, const HandedStep& handed);

  // In order of computation: of a step loss, gradients, their norm, first and second moments, and
  // weights.
  std::vector<const StepRow*> all() const;
  const StepRow* find(int64_t step, const std::string& name) const;
  // Whether a wrong value was computed right from what was wrong before in the same step.
  bool inherits(const StepRow& row, StepView view) const;
  // Outside, from the reference's state or its own, and not inherited.
  bool is_fresh(const StepRow& row, StepView view) const;
  std::vector<std::string> names() const;  // of a step, in that order

 private:
  bool any_gradient_outside(int64_t step, StepView view) const;

  std::vector<std::string> order_;
  std::map<std::pair<int64_t, std::string>, StepRow> rows_;
};

// "grad/" and "lm_head.weight" of "grad/lm_head.weight"; of "loss" that, and "".
std::pair<std::string, std::string> parts_of(const std::string& name);

}  // namespace assay::verify
