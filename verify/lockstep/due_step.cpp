#include "verify/lockstep/due_step.h"

#include <cmath>
#include <limits>

#include "golden/contract/error.h"

namespace assay::verify {
namespace {

using golden::Tensor;
using reference::Array;

// Half the width of a uniform distribution in deviations: how a bent update is carried on.
const double kUniform = std::sqrt(3.0);

DueTensor scalar(Around number) {
  const double value[] = {number.value}, bound[] = {number.spread};
  return {Array::copy_of({}, value), Array::copy_of({}, bound)};
}

double at(const Array& array, int64_t i) { return array.absent() ? 0 : array.data()[i]; }

const Array& find_in(const std::map<std::string, Array>& arrays, const std::string& name) {
  static const Array kNone;
  const auto found = arrays.find(name);
  return found == arrays.end() ? kNone : found->second;
}

const Tensor* find_in(const Tensors& tensors, const std::string& name, std::size_t size) {
  const auto found = tensors.find(name);
  return found == tensors.end() || found->second.values.size() != size ? nullptr : &found->second;
}

// One weight of a state, and how it is known.
struct HeldWeight {
  const Tensor &weight, &first, &second;
  const Array &weight_deviation, &first_deviation, &second_deviation;

  AdamwElement element(int64_t i, double width) const {
    const auto k = static_cast<std::size_t>(i);
    return {.weight = {weight.values[k], width * at(weight_deviation, i)},
            .first = {first.values[k], width * at(first_deviation, i)},
            .second = {second.values[k], width * at(second_deviation, i)}};
  }
};

HeldWeight held_weight(const TrainingState& state, const StateDeviations& deviations,
                       const std::string& name) {
  return {state.weights.at(name),          state.first.at(name),
          state.second.at(name),           find_in(deviations.weights, name),
          find_in(deviations.first, name), find_in(deviations.second, name)};
}

struct UpdatedWeight {
  explicit UpdatedWeight(const golden::Shape& shape) {
    for (DueTensor* due : {&weight, &first, &second}) {
      *due = {Array::uninitialized(shape), Array::uninitialized(shape)};
    }
  }
  void set(int64_t i, const AdamwElement& after) {
    set(weight, i, after.weight);
    set(first, i, after.first);
    set(second, i, after.second);
  }
  static void set(DueTensor& due, int64_t i, Around number) {
    due.value.data()[i] = number.value;
    due.bound.data()[i] =
        std::isnan(number.spread) ? std::numeric_limits<double>::infinity() : number.spread;
  }

  DueTensor weight, first, second;
};

Array per_deviation(Array spread, double width) {
  for (double& x : spread.values()) x /= width;
  return spread;
}

double norm_of(const Tensors& tensors) {
  double squares = 0;
  for (const auto& [name, tensor] : tensors) {
    for (const double x : tensor.values) squares += x * x;
  }
  return std::sqrt(squares);
}

int64_t elements_of(const Tensors& tensors) {
  int64_t count = 0;
  for (const auto& [name, tensor] : tensors) count += static_cast<int64_t>(tensor.values.size());
  return count;
}

bool has_all(const Tensors& handed, const Tensors& all) {
  for (const auto& [name, tensor] : all) {
    if (find_in(handed, name, tensor.values.size()) == nullptr) return false;
  }
  return true;
}

// The subject's own gradient of a weight, clipped; what is left to tell where only the first moment
// is known: g = (m' - b1 m) / (1 - b1), as far as roundings of m' let it.
class OwnGradient {
 public:
  OwnGradient(const LockstepRule& rule, const Tensor* gradient, Around factor, const Tensor& before,
              const Tensor* first)
      : rule_(rule), gradient_(gradient), factor_(factor), before_(before), first_(first) {}

  bool known() const { return gradient_ != nullptr || first_ != nullptr; }
  Around at(std::size_t i) const {
    if (gradient_ != nullptr) {
      return clipped({gradient_->values[i], 0}, factor_, rule_.arithmetic.master);
    }
    const double beta = rule_.adamw.beta1, m = before_.values[i], after = first_->values[i];
    const double unit = golden::unit_roundoff(rule_.arithmetic.master);
    return {(after - beta * m) / (1 - beta),
            8 * unit * (std::fabs(after) + std::fabs(m)) / (1 - beta)};
  }

 private:
  const LockstepRule& rule_;
  const Tensor* gradient_;
  Around factor_;
  const Tensor& before_;
  const Tensor* first_;
};

}  // namespace

bool decays(const golden::Shape& shape) { return shape.size() >= 2; }

DueStep due_from_reference(const LockstepRule& rule, const StepPlace& place,
                           const TrainingState& before, const StateDeviations* deviations,
                           const StepGradient& gradient, StateDeviations* after) {
  static const StateDeviations kExact;
  const StateDeviations& known = deviations == nullptr ? kExact : *deviations;
  const AdamwBounds adamw(rule.adamw, rule.arithmetic, place.number, place.rate);
  const double own =
      norm_error(rule.arithmetic.master, gradient.elements, rule.reach) * gradient.norm;
  const Around norm{gradient.norm, rule.reach * gradient.norm_deviation + own};
  const Around likely{gradient.norm, kUniform * gradient.norm_deviation + own};
  const Around factor = clip_factor(rule.adamw, rule.arithmetic, norm);
  const Around likely_factor = clip_factor(rule.adamw, rule.arithmetic, likely);
  DueStep due;
  due["loss"] = scalar({gradient.loss, rule.tolerance(gradient.loss_deviation)});
  due["grad_norm"] = scalar(norm);
  for (const auto& [name, value] : gradient.values) {
    const Array& deviation = gradient.deviations.at(name);
    DueTensor& gradients = due["grad/" + name];
    gradients = {value, Array::uninitialized(value.shape())};
    const HeldWeight held = held_weight(before, known, name);
    const bool decaying = decays(value.shape());
    UpdatedWeight updated(value.shape()), carried(value.shape());
    for (int64_t i = 0; i < value.size(); ++i) {
      const double sigma = deviation.data()[i];
      const double bound =
          std::isfinite(sigma) ? rule.tolerance(sigma) : std::numeric_limits<double>::infinity();
      gradients.bound.data()[i] = bound;
      const double g = value.data()[i];
      updated.set(i, adamw(held.element(i, rule.reach),
                           clipped({g, bound}, factor, rule.arithmetic.master), decaying));
      if (after == nullptr) continue;
      carried.set(i, adamw(held.element(i, kUniform),
                           clipped({g, kUniform * sigma}, likely_factor, rule.arithmetic.master),
                           decaying));
    }
    due["weight/" + name] = updated.weight;
    due["first/" + name] = updated.first;
    due["second/" + name] = updated.second;
    if (after == nullptr) continue;
    after->weights[name] = per_deviation(carried.weight.bound, kUniform);
    after->first[name] = per_deviation(carried.first.bound, kUniform);
    after->second[name] = per_deviation(carried.second.bound, kUniform);
  }
  return due;
}

DueStep due_from_subject(const LockstepRule& rule, const StepPlace& place,
                         const TrainingState& before, const TrainedStep& step, Around norm) {
  DueStep due;
  const golden::Precision master = rule.arithmetic.master;
  if (has_all(step.gradients, before.weights)) {
    const double own = norm_of(step.gradients);
    norm = {own, own * norm_error(master, elements_of(step.gradients), rule.reach)};
    due["grad_norm"] = scalar(norm);
  } else if (step.gradient_norm) {
    norm = {*step.gradient_norm, *step.gradient_norm * 4 * golden::unit_roundoff(master)};
  }
  const Around factor = clip_factor(rule.adamw, rule.arithmetic, norm);
  const AdamwBounds adamw(rule.adamw, rule.arithmetic, place.number, place.rate);
  static const StateDeviations kExact;
  for (const auto& [name, weight] : before.weights) {
    const std::size_t size = weight.values.size();
    const Tensor* gradient = find_in(step.gradients, name, size);
    const Tensor* first = find_in(step.first, name, size);
    const Tensor* second = find_in(step.second, name, size);
    const OwnGradient own(rule, gradient, factor, before.first.at(name), first);
    if (!own.known()) continue;
    const HeldWeight held = held_weight(before, kExact, name);
    UpdatedWeight updated(weight.shape);
    for (std::size_t i = 0; i < size; ++i) {
      const auto k = static_cast<int64_t>(i);
      AdamwElement after = adamw(held.element(k, 0), own.at(i), decays(weight.shape));
      const Around m = first == nullptr ? after.first : Around{first->values[i], 0};
      const Around v = second == nullptr ? after.second : Around{second->values[i], 0};
      after.weight = adamw.weight_from({weight.values[i], 0}, m, v, decays(weight.shape));
      updated.set(k, after);
    }
    if (gradient != nullptr) due["first/" + name] = updated.first;
    due["second/" + name] = updated.second;
    due["weight/" + name] = updated.weight;
  }
  return due;
}

std::map<std::string, RecoveredGradient> recovered_gradients(const LockstepRule& rule,
                                                             const TrainingState& before,
                                                             const StepGradient& gradient,
                                                             const TrainedStep& step) {
  const Around factor = clip_factor(rule.adamw, rule.arithmetic,
                                    {gradient.norm, rule.reach * gradient.norm_deviation});
  std::map<std::string, RecoveredGradient> all;
  for (const auto& [name, value] : gradient.values) {
    const auto size = static_cast<std::size_t>(value.size());
    const Tensor* first = find_in(step.first, name, size);
    if (first == nullptr || find_in(step.gradients, name, size) != nullptr) continue;
    const OwnGradient own(rule, nullptr, factor, before.first.at(name), first);
    RecoveredGradient& made = all[name];
    made.due = {Array::uninitialized(value.shape()), Array::uninitialized(value.shape())};
    made.got.resize(size);
    for (std::size_t i = 0; i < size; ++i) {
      const auto k = static_cast<int64_t>(i);
      const double sigma = gradient.deviations.at(name).data()[k];
      const Around due =
          clipped({value.data()[k], rule.tolerance(sigma)}, factor, rule.arithmetic.master);
      const Around got = own.at(i);
      made.due.value.data()[k] = due.value;
      made.due.bound.data()[k] =
          std::isfinite(sigma) ? due.spread + got.spread : std::numeric_limits<double>::infinity();
      made.got[i] = got.value;
    }
  }
  return all;
}

TrainingState next_state(const LockstepRule& rule, const TrainingState& before,
                         const DueStep& due) {
  TrainingState next{.steps = before.steps + 1, .weights = {}, .first = {}, .second = {}};
  const auto rounded = [&](const std::string& name) {
    const Array& value = due.at(name).value;
    Tensor tensor{value.shape(), {value.values().begin(), value.values().end()}};
    for (double& x : tensor.values) x = golden::round_to(rule.arithmetic.master, x);
    return tensor;
  };
  for (const auto& [name, weight] : before.weights) {
    next.weights[name] = rounded("weight/" + name);
    next.first[name] = rounded("first/" + name);
    next.second[name] = rounded("second/" + name);
  }
  return next;
}

}  // namespace assay::verify
