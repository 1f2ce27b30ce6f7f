// What the views found out about every tensor of every step.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <span>
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

// How many times what is due a gradient goes beyond it, all its elements together, of errors e that
// deviate by s:
//   (1)  slope = sum e g / s^2 / sum g^2 / s^2,  bound = reach / sqrt(sum g^2 / s^2)
// So a gradient that is 0, or half of what is due, is found where each of its elements by itself is
// within its bound. Errors may be somewhat alike: twice that, and a quarter at least, is allowed.
struct Slope {
  double value = 0;
  double bound = std::numeric_limits<double>::infinity();  // infinite: nothing can be told

  bool is_outside() const { return std::abs(value) > std::max(2 * bound, 0.25); }
  bool tells() const { return bound <= 0.25; }
};

// spread: of each element, `reach` times its deviation.
Slope slope_of(std::span<const double> due, std::span<const double> got,
               std::span<const double> spread);

struct SeenTensor {
  Comparison comparison;
  std::optional<Slope> slope;          // of a gradient, or of the one that a first moment tells
  double due_rms = 0, bound_rms = 0;   // of that gradient; of elements with a finite bound
  bool open = false;                   // an element without a finite bound is among them
  double due = 0, got = 0, bound = 0;  // at the first element outside

  bool is_scaled() const { return slope && slope->is_outside(); }
  bool is_wide() const { return slope && bound_rms > due_rms / 2; }
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
  bool outside(StepView view) const {
    return in(view) && (in(view)->comparison.outside > 0 || in(view)->is_scaled());
  }
};

// What a subject handed over of a step, by the names of DueStep; it points into `step`.
class HandedStep {
 public:
  explicit HandedStep(const TrainedStep& step);
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

  // Puts the slope of the gradient that a first moment was made from beside its comparison. Returns
  // whether that is outside.
  bool add_slope(StepView view, int64_t step, const std::string& weight, const DueTensor& due,
                 std::span<const double> got);

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
