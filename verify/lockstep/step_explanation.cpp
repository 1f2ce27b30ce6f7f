#include "verify/lockstep/step_explanation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "verify/gradients/gradient_divergence.h"
#include "verify/lockstep/adamw_variations.h"

namespace assay::verify {
namespace {

using reference::Array;
using Values = std::vector<double>;

// What is due otherwise may round otherwise: this many times the bound, and so many units of a
// value that is larger.
constexpr double kSlack = 4, kSlackUnits = 16;
// All that a hypothesis about one tensor of a step is made of.
struct Question {
  const LockstepRun& run;
  const StepRow& row;
  StepView view;
  const TrainingState& before;
  const TrainedStep& handed;
  std::string kind, weight;
  std::span<const double> got;
  const DueTensor& due;
  const DueStep& step;
};

// What differs from what is due by no more than its bound explains nothing.
bool fits(const Question& q, std::span<const double> other) {
  bool differs = false;
  const double unit = golden::unit_roundoff(q.run.rule().arithmetic.master);
  for (std::size_t i = 0; i < q.got.size(); ++i) {
    const double bound =
        kSlack * q.due.bound.values()[i] + kSlackUnits * unit * std::fabs(other[i]);
    if (!within(other[i], q.got[i], bound)) return false;
    differs = differs || !within(q.due.value.values()[i], other[i], q.due.bound.values()[i]);
  }
  return differs;
}

double clip_of(const reference::AdamwRule& rule, double norm) {
  return rule.max_norm > 0 && norm > rule.max_norm ? rule.max_norm / norm : 1;
}

double norm_of_values(std::span<const double> values) {
  double squares = 0;
  for (const double x : values) squares += x * x;
  return std::sqrt(squares);
}

std::string of_update(const Question& q) {
  const LockstepRule& rule = q.run.rule();
  const auto own = q.handed.gradients.find(q.weight);
  const Array& reference_gradient = q.run.gradient(q.row.step).values.at(q.weight);
  const std::span<const double> gradient = own != q.handed.gradients.end()
                                               ? std::span<const double>(own->second.values)
                                               : reference_gradient.values();
  const auto norm = q.step.find("grad_norm");
  const double clip = clip_of(rule.adamw, norm != q.step.end() ? norm->second.value.data()[0]
                                                               : q.run.gradient(q.row.step).norm);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const golden::Tensor& weight = q.before.weights.at(q.weight);
  const VariedStep varied{
      .rule = rule.adamw,
      .place = q.run.place(q.row.step),
      .rate_before = q.row.step > 1 ? q.run.place(q.row.step - 1).rate : nan,
      .rate_after = q.row.step < q.run.steps() ? q.run.place(q.row.step + 1).rate : nan,
      .own_clip = clip_of(rule.adamw, norm_of_values(gradient)),
      .decays = decays(weight.shape)};
  const auto behind = [&](const Tensors& handed, const std::string& kind) {
    const auto found = handed.find(q.weight);
    if (found != handed.end()) return std::span<const double>(found->second.values);
    const auto due = q.step.find(kind + q.weight);
    return due == q.step.end() ? std::span<const double>() : due->second.value.values();
  };
  const std::span<const double> first = behind(q.handed.first, "first/");
  const std::span<const double> second = behind(q.handed.second, "second/");
  for (const Variation& variation : variations_of(q.kind)) {
    Values other(q.got.size());
    for (std::size_t i = 0; i < other.size(); ++i) {
      const VariedElement x{.weight = weight.values[i],
                            .first = q.before.first.at(q.weight).values[i],
                            .second = q.before.second.at(q.weight).values[i],
                            .gradient = gradient[i],
                            .clipped = clip * gradient[i],
                            .new_first = first.empty() ? nan : first[i],
                            .new_second = second.empty() ? nan : second[i]};
      other[i] = variation.value(varied, x);
    }
    if (fits(q, other)) return "equals what is due " + variation.what;
  }
  return "";
}

std::string of_scaled(const Question& q) {
  Failure failure;
  failure.expected = {q.due.value.values().begin(), q.due.value.values().end()};
  failure.candidate = {q.got.begin(), q.got.end()};
  failure.bound = {q.due.bound.values().begin(), q.due.bound.values().end()};
  std::string text = wrong_factor(failure);
  const double clip = clip_of(q.run.rule().adamw, q.run.gradient(q.row.step).norm);
  Values clipped(failure.expected);
  for (double& x : clipped) x *= clip;
  if (clip < 1 && fits(q, clipped)) {
    return "equals what is due after clipping: gradients are due before it";
  }
  return text;
}

// Of the question's tensor, the loss or a gradient.
Values values_of(const Question& q, const StepGradient& gradient) {
  if (q.kind == "loss") return {gradient.loss};
  const auto values = gradient.values.at(q.weight).values();
  return {values.begin(), values.end()};
}

// Other masks of dropout.
std::string of_masks(const Question& q) {
  const reference::Dropout& dropout = q.run.dropout();
  if (dropout.rate == 0) return "";
  const int64_t step = q.row.step;
  const auto is_of = [&](const MaskPlace& place, double rate) {
    return fits(q, values_of(q, q.run.masked_gradient(step, q.before.weights, place,
                                                      {.rate = rate, .seed = dropout.seed})));
  };
  if (is_of({.step = step}, 0)) return "equals what is due without dropout";
  if (is_of({.step = step, .is_scaled = false}, dropout.rate)) {
    return "equals what is due with elements that are kept not divided by 1 - p";
  }
  if (is_of({.step = step - 1}, dropout.rate)) {
    return "equals what is due with the masks of the step before";
  }
  if (is_of({.step = step + 1}, dropout.rate)) {
    return "equals what is due with the masks of the next step";
  }
  return "";
}

// Other ways to put micro-batches together, of a tensor that they share linearly.
std::string of_micro_batches(const Question& q) {
  const std::vector<StepGradient> parts = q.run.micro_gradients(q.row.step, q.before.weights);
  if (parts.size() < 2) return "";
  Values mean(q.got.size()), sum(q.got.size());
  for (const StepGradient& part : parts) {
    const Values values = values_of(q, part);
    for (std::size_t i = 0; i < mean.size(); ++i) {
      mean[i] += values[i] / static_cast<double>(parts.size());
      sum[i] += values[i];
    }
  }
  if (fits(q, mean)) {
    return "equals the mean of the micro-batches' means: positions of one that counts fewer weigh "
           "more";
  }
  if (fits(q, sum)) return "equals the sum of the micro-batches' means";
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (fits(q, values_of(q, parts[i]))) {
      return fmt::format("equals that of micro-batch {} of {} alone", i + 1, parts.size());
    }
  }
  return "";
}

std::string of_gradient(const Question& q) {
  if (std::string text = of_scaled(q); !text.empty()) return text;
  if (std::string text = of_micro_batches(q); !text.empty()) return text;
  if (std::string text = of_masks(q); !text.empty()) return text;
  if (q.row.step == 1) return "";
  const TrainedStep* last = q.run.handed(q.view, q.row.step - 1);
  const auto found = last == nullptr ? q.handed.gradients.end() : last->gradients.find(q.weight);
  if (last == nullptr || found == last->gradients.end()) return "";
  const Values& stale = found->second.values;
  if (fits(q, stale)) return "equals the gradient of the step before";
  Values both(stale);
  for (std::size_t i = 0; i < both.size(); ++i) both[i] += q.due.value.values()[i];
  if (fits(q, both)) {
    return "equals what is due and the gradient of the step before: that was not set to 0";
  }
  return "";
}

std::string of_norm(const Question& q) {
  const double got = q.got[0], due = q.due.value.data()[0];
  const auto is = [&](double other) {
    const double part = std::max(1e-9, kSlack * q.due.bound.data()[0] / due);
    return std::fabs(got - other) <= part * other;
  };
  const double max_norm = q.run.rule().adamw.max_norm;
  if (max_norm > 0 && due > max_norm && is(max_norm)) return "equals the norm after clipping";
  if (is(due * due)) return "equals the sum of squares, without the root";
  return "";
}

}  // namespace

std::string explanation_of(const LockstepRun& run, const StepRow& row, StepView view) {
  const TrainingState* before = run.state_before(view, row.step);
  const TrainedStep* handed = run.handed(view, row.step);
  if (before == nullptr || before->first.empty() || handed == nullptr ||
      view == StepView::accumulated) {
    return "";
  }
  const bool update = view == StepView::forced_update || view == StepView::own_update;
  const StepGradient gradient = run.gradient_from(row.step, *before);
  DueStep step = due_from_reference(run.rule(), run.place(row.step), *before, nullptr, gradient);
  if (update) {
    DueStep own = due_from_subject(run.rule(), run.place(row.step), *before, *handed,
                                   {gradient.norm, run.rule().reach * gradient.norm_deviation});
    for (auto& [name, due] : own) step[name] = std::move(due);
  }
  const HandedStep seen(*handed);
  const auto [kind, weight] = parts_of(row.name);
  const Question question{
      run, row, view, *before, *handed, kind, weight, *seen.find(row.name), step.at(row.name),
      step};
  if (kind == "loss") {
    const std::string text = of_micro_batches(question);
    return text.empty() ? of_masks(question) : text;
  }
  if (kind == "grad/") return of_gradient(question);
  if (kind == "grad_norm") return of_norm(question);
  return of_update(question);
}

}  // namespace assay::verify
