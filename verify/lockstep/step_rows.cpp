#include "verify/lockstep/step_rows.h"

#include <algorithm>
#include <cmath>

namespace assay::verify {
namespace {

constexpr const char* kOfWeights[] = {"first/", "second/", "weight/"};

SeenTensor seen_of(const DueTensor& due, std::span<const double> got) {
  SeenTensor seen;
  const auto bound = due.bound.values();
  seen.open = std::any_of(bound.begin(), bound.end(), [](double x) { return !std::isfinite(x); });
  seen.comparison = compare(due.value.values(), got, bound);
  if (seen.comparison.first >= 0) {
    const auto i = static_cast<std::size_t>(seen.comparison.first);
    seen.due = due.value.values()[i];
    seen.got = got[i];
    seen.bound = bound[i];
  }
  return seen;
}

void look_at_slope(SeenTensor& seen, const DueTensor& due, std::span<const double> got) {
  const auto value = due.value.values(), bound = due.bound.values();
  double values = 0, bounds = 0;
  int64_t count = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!std::isfinite(bound[i])) continue;
    values += value[i] * value[i];
    bounds += bound[i] * bound[i];
    ++count;
  }
  seen.slope = slope_of(value, got, bound);
  seen.due_rms = count == 0 ? 0 : std::sqrt(values / static_cast<double>(count));
  seen.bound_rms = count == 0 ? 0 : std::sqrt(bounds / static_cast<double>(count));
}

double rms_of(std::span<const double> values) {
  double squares = 0;
  for (const double x : values) squares += x * x;
  return values.empty() ? 0 : std::sqrt(squares / static_cast<double>(values.size()));
}

StepView reference_of(StepView view) {
  return view == StepView::forced_update ? StepView::forced
         : view == StepView::own_update  ? StepView::own
                                         : view;
}

StepView update_of(StepView view) {
  return view == StepView::forced ? StepView::forced_update
         : view == StepView::own  ? StepView::own_update
                                  : view;
}

}  // namespace

Slope slope_of(std::span<const double> due, std::span<const double> got,
               std::span<const double> spread) {
  double product = 0, square = 0;
  for (std::size_t i = 0; i < due.size(); ++i) {
    if (!(spread[i] > 0) || !std::isfinite(spread[i])) continue;
    const double g = due[i] / spread[i];
    product += g * (got[i] - due[i]) / spread[i];
    square += g * g;
  }
  if (!(square > 0)) return {};
  return {.value = product / square, .bound = 1 / std::sqrt(square)};
}

std::pair<std::string, std::string> parts_of(const std::string& name) {
  const std::size_t slash = name.find('/');
  if (slash == std::string::npos) return {name, ""};
  return {name.substr(0, slash + 1), name.substr(slash + 1)};
}

HandedStep::HandedStep(const TrainedStep& step) {
  if (step.loss) tensors_["loss"] = {&*step.loss, 1};
  if (step.gradient_norm) tensors_["grad_norm"] = {&*step.gradient_norm, 1};
  for (const auto& [name, tensor] : step.gradients) tensors_["grad/" + name] = tensor.values;
  for (const auto& [name, tensor] : step.first) tensors_["first/" + name] = tensor.values;
  for (const auto& [name, tensor] : step.second) tensors_["second/" + name] = tensor.values;
  for (const auto& [name, tensor] : step.weights) tensors_["weight/" + name] = tensor.values;
}

const std::span<const double>* HandedStep::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

std::vector<std::string> StepRows::names() const {
  std::vector<std::string> names{"loss"};
  for (const std::string& weight : order_) names.push_back("grad/" + weight);
  names.push_back("grad_norm");
  for (const char* kind : kOfWeights) {
    for (const std::string& weight : order_) names.push_back(kind + weight);
  }
  return names;
}

int64_t StepRows::compare(StepView view, int64_t step, const DueStep& due,
                          const HandedStep& handed) {
  int64_t outside = 0;
  for (const auto& [name, tensor] : due) {
    const std::span<const double>* got = handed.find(name);
    if (got == nullptr || got->size() != static_cast<std::size_t>(tensor.value.size())) continue;
    StepRow& row = rows_[{step, name}];
    row.step = step;
    row.name = name;
    row.shape = tensor.value.shape();
    row.due_rms = rms_of(tensor.value.values());
    auto& seen = row.seen[static_cast<std::size_t>(view)];
    seen = seen_of(tensor, *got);
    if (view != StepView::accumulated && name.starts_with("grad/")) {
      look_at_slope(*seen, tensor, *got);
    }
    outside += row.outside(view);
  }
  return outside;
}

bool StepRows::add_slope(StepView view, int64_t step, const std::string& weight,
                         const DueTensor& due, std::span<const double> got) {
  const auto found = rows_.find({step, "first/" + weight});
  if (found == rows_.end() || !found->second.in(view)) return false;
  SeenTensor& seen = *found->second.seen[static_cast<std::size_t>(view)];
  look_at_slope(seen, due, got);
  return seen.is_scaled();
}

std::vector<const StepRow*> StepRows::all() const {
  std::vector<const StepRow*> rows;
  const std::vector<std::string> names = this->names();
  int64_t last = 0;
  for (const auto& [key, row] : rows_) last = std::max(last, key.first);
  for (int64_t step = 1; step <= last; ++step) {
    for (const std::string& name : names) {
      if (const StepRow* row = find(step, name)) rows.push_back(row);
    }
  }
  return rows;
}

const StepRow* StepRows::find(int64_t step, const std::string& name) const {
  const auto found = rows_.find({step, name});
  return found == rows_.end() ? nullptr : &found->second;
}

bool StepRows::any_gradient_outside(int64_t step, StepView view) const {
  return std::any_of(order_.begin(), order_.end(), [&](const std::string& weight) {
    const StepRow* row = find(step, "grad/" + weight);
    return row != nullptr && row->outside(view);
  });
}

bool StepRows::inherits(const StepRow& row, StepView view) const {
  const auto [kind, weight] = parts_of(row.name);
  const StepView update = update_of(view), reference = reference_of(view);
  const auto wrong = [&](const std::string& name) {
    const StepRow* other = find(row.step, name);
    return other != nullptr && (other->outside(reference) || other->outside(update));
  };
  if (kind == "loss" || kind == "grad/" || view == StepView::accumulated) return false;
  // What is right as the subject's own tensors give it has its error from them.
  if (view == reference && row.in(update)) return row.outside(reference) && !row.outside(update);
  if (view == update && kind != "weight/") return false;
  if (kind == "grad_norm") return any_gradient_outside(row.step, reference);
  if (kind == "weight/" && (wrong("first/" + weight) || wrong("second/" + weight))) {
    // From the subject's own moments only where it hands them over.
    return view != update;
  }
  return view != update &&
         (any_gradient_outside(row.step, reference) || wrong("grad_norm") || wrong("loss"));
}

bool StepRows::is_fresh(const StepRow& row, StepView view) const {
  return view != StepView::accumulated && row.outside(view) && !inherits(row, view);
}

}  // namespace assay::verify
