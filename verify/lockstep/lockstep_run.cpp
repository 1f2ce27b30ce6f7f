#include "verify/lockstep/lockstep_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <sstream>
#include <utility>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "verify/lockstep/micro_batches.h"
#include "verify/subjects/bindings.h"

namespace assay::verify {
namespace {

using golden::Tensor;
using reference::Array;

constexpr int kMostSkips = 64;  // in a row: a loss scale of 2^16 is halved to 2^-48

// Compared: loss, norm, and four tensors a weight, in up to five views of every step.
int64_t compared_elements(const golden::ModelConfig& config, const LockstepOptions& options) {
  int64_t weights = 0;
  for (const golden::TensorInfo& info : golden::weight_list(config)) {
    weights += golden::element_count(info.shape);
  }
  return kStepViews * options.steps * (4 * weights + 2);
}

// A mistyped name would not be required, and nobody would be told.
void require_names(const std::vector<std::string>& patterns,
                   const std::vector<std::string>& names) {
  for (const std::string& pattern : patterns) {
    std::string part;
    std::istringstream list(pattern == "all" ? "*" : pattern);
    int64_t parts = 0;
    for (; std::getline(list, part, ','); parts += !part.empty()) {
      if (part.empty() || std::any_of(names.begin(), names.end(), [&](const std::string& name) {
            return golden::matches(part, name);
          })) {
        continue;
      }
      throw InputError(fmt::format(
          "--require {}: no such tensor of a step: expected loss, grad_norm, or grad/, first/, "
          "second/ or weight/ and a weight's name or a pattern of it, or all",
          golden::printable(part)));
    }
    if (parts == 0) {
      throw InputError("--require: expected a pattern of tensors or all, got nothing");
    }
  }
}

TrainingState first_state(const golden::ModelConfig& config, const golden::GoldenReader& golden,
                          golden::Precision master) {
  TrainingState state;
  for (const golden::TensorInfo& info : golden::weight_list(config)) {
    Tensor weight{info.shape,
                  std::vector<double>(static_cast<std::size_t>(golden::element_count(info.shape)))};
    state.first[info.name] = state.second[info.name] = weight;
    golden.read(info.name, weight.values);
    for (double& x : weight.values) x = golden::round_to(master, x);
    state.weights[info.name] = std::move(weight);
  }
  return state;
}

bool all_finite(const Tensors& tensors) {
  return std::all_of(tensors.begin(), tensors.end(), [](const auto& entry) {
    return std::all_of(entry.second.values.begin(), entry.second.values.end(),
                       [](double x) { return std::isfinite(x); });
  });
}

bool has_whole(const Tensors& handed, const Tensors& due) {
  return std::all_of(due.begin(), due.end(), [&](const auto& entry) {
    const auto found = handed.find(entry.first);
    return found != handed.end() && found->second.shape == entry.second.shape;
  });
}

// Deviations of a weight as the kernels read it: rounded to storage, values that differ by less
// than a unit in the last place come out alike or a whole unit apart.
GradientSource::WeightDeviation as_read(const TrainingState& state,
                                        const StateDeviations& deviations,
                                        golden::Precision storage, golden::Precision master) {
  return [&state, &deviations, storage, master](const std::string& name) {
    Array read = Array::copy_of(state.weights.at(name).shape, deviations.weights.at(name).values());
    if (storage == master) return read;
    const std::vector<double>& weight = state.weights.at(name).values;
    for (int64_t i = 0; i < read.size(); ++i) {
      const double sigma = read.data()[i];
      const double unit = golden::spacing(storage, weight[static_cast<std::size_t>(i)]);
      read.data()[i] = std::sqrt(sigma * (sigma + unit));
    }
    return read;
  };
}

}  // namespace

LockstepRun::LockstepRun(const golden::GoldenReader& golden, TrainingSubject& subject,
                         const LockstepOptions& options)
    : config_(golden.header().config),
      batch_(read_batch(golden)),
      subject_(subject),
      options_(options),
      tolerance_(subject.arithmetic().schedule, compared_elements(config_, options),
                 options.false_alarm_rate),
      rule_{.adamw = options.rule,
            .arithmetic = subject.arithmetic(),
            .tolerance = tolerance_.rule(),
            .reach = tolerance_.reach()},
      source_(config_, rule_.arithmetic, rule_.reach, options.dropout),
      rows_(source_.backward_order(batch_)) {
  require_names(options.required, rows_.names());
  if (golden::round_to(rule_.arithmetic.master, options.rule.eps) == 0) {
    throw InputError(fmt::format(
        "--eps: expected a number that {} holds, in which {} updates, got "
        "{:g}, which is 0 there",
        golden::precision_name(rule_.arithmetic.master), subject.describe(), options.rule.eps));
  }
  for (int64_t step = 0; step < options.steps; ++step) {
    batches_.push_back(micro_batches_of(config_, batch_, options.micro_batches, step));
  }
  states_.push_back(first_state(config_, golden, rule_.arithmetic.master));
}

StepPlace LockstepRun::place(int64_t step) const {
  return {.number = step, .rate = rate_of(options_, step - 1)};
}

const TrainingState* LockstepRun::state_before(StepView view, int64_t step) const {
  const bool is_forced = view == StepView::forced || view == StepView::forced_update;
  const JudgedRun& run = is_forced ? forced_ : free_;
  const auto i = static_cast<std::size_t>(step - 1);
  return i < run.before.size() && !run.before[i].weights.empty() ? &run.before[i] : nullptr;
}

const TrainedStep* LockstepRun::handed(StepView view, int64_t step) const {
  const bool is_forced = view == StepView::forced || view == StepView::forced_update;
  const JudgedRun& run = is_forced ? forced_ : free_;
  const auto i = static_cast<std::size_t>(step - 1);
  return i < run.steps.size() ? &run.steps[i] : nullptr;
}

const StepGradient& LockstepRun::gradient(int64_t step) const {
  return gradients_[static_cast<std::size_t>(step - 1)];
}

StepGradient LockstepRun::gradient_at(int64_t step, const Tensors& weights,
                                      const GradientSource::WeightDeviation& deviation,
                                      bool sampled) const {
  return source_.of(weights, batches_[static_cast<std::size_t>(step - 1)], {.step = step},
                    deviation, sampled);
}

std::vector<StepGradient> LockstepRun::micro_gradients(int64_t step, const Tensors& weights) const {
  std::vector<StepGradient> parts;
  MaskPlace place{.step = step};
  for (const Batch& batch : batches_[static_cast<std::size_t>(step - 1)]) {
    parts.push_back(source_.of(weights, {batch}, place));
    place.first_row += batch.batch;
  }
  return parts;
}

void LockstepRun::run() {
  using Clock = std::chrono::steady_clock;
  using Seconds = std::chrono::duration<double>;
  const Clock::time_point start = Clock::now();
  reference_run();
  free_run();
  const Clock::time_point between = Clock::now();
  forced_run();
  free_.seconds = Seconds(between - start).count();
  forced_.seconds = Seconds(Clock::now() - between).count();
}

void LockstepRun::reference_run() {
  for (int64_t step = 1; step <= options_.steps; ++step) {
    const TrainingState& before = states_.back();
    gradients_.push_back(gradient_at(step, before.weights));
    const StepGradient& gradient = gradients_.back();
    TrainingState next = next_state(
        rule_, before, due_from_reference(rule_, place(step), before, nullptr, gradient));
    if (!std::isfinite(gradient.norm) || !all_finite(next.weights)) {
      throw InputError(fmt::format(
          "--train: the reference itself does not stay finite: expected numbers after step {}, got "
          "infinities; a smaller --lr may help",
          step));
    }
    clipped_ += options_.rule.max_norm > 0 && gradient.norm > options_.rule.max_norm;
    if (step < options_.steps) states_.push_back(std::move(next));
  }
}

void LockstepRun::free_run() {
  StateDeviations deviations;
  subject_.set_state(states_.front());
  free_.before.push_back(states_.front());
  for (int64_t step = 1; step <= options_.steps; ++step) {
    const TrainingState before = free_.before.back();
    free_.steps.push_back(taken(step, before));
    const TrainedStep& handed = free_.steps.back();
    judge_own(step, handed);
    judge_accumulated(step, handed, deviations);
    TrainingState next{.steps = step, .weights = {}, .first = {}, .second = {}};
    const TrainingState& whole = states_.front();
    if (has_whole(handed.weights, whole.weights)) {
      next.weights = handed.weights;
      if (has_whole(handed.first, whole.first) && has_whole(handed.second, whole.second)) {
        next.first = handed.first;
        next.second = handed.second;
      }
    }
    free_.before.push_back(std::move(next));
  }
}

void LockstepRun::forced_run() {
  for (int64_t step = 1; step <= options_.steps; ++step) {
    const TrainingState& before = states_[static_cast<std::size_t>(step - 1)];
    subject_.set_state(before);
    forced_.before.push_back(before);
    forced_.steps.push_back(taken(step, before));
    judge(StepView::forced, StepView::forced_update, step, before, gradient(step),
          forced_.steps.back());
  }
}

// A step that overflows is asked for again; it may have changed nothing.
TrainedStep LockstepRun::taken(int64_t step, const TrainingState& before) {
  const auto i = static_cast<std::size_t>(step - 1);
  for (int skips = 0; skips < kMostSkips; ++skips) {
    TrainedStep handed = subject_.step(batches_[i], place(step).rate);
    check_handed(step, handed);
    if (!handed.skipped) return counted(step, std::move(handed));
    ++skipped_;
    for (const auto& [kind, after, due] : {std::tuple("weight/", &handed.weights, &before.weights),
                                           std::tuple("first/", &handed.first, &before.first),
                                           std::tuple("second/", &handed.second, &before.second)}) {
      for (const auto& [name, tensor] : *after) {
        const auto found = due->find(name);
        if (found == due->end() || found->second.values == tensor.values) continue;
        faults_.push_back(fmt::format(
            "step {}: {}{}: expected no change by a step that overflowed, got another value", step,
            kind, golden::printable(name)));
        return counted(step, std::move(handed));
      }
    }
    const golden::Precision storage = rule_.arithmetic.schedule.storage;
    if (storage != golden::Precision::fp16) {
      faults_.push_back(
          fmt::format("step {}: expected a step, got one that is skipped for an "
                      "overflow, of which there is none in {}",
                      step, golden::precision_name(storage)));
      return counted(step, {});
    }
  }
  faults_.push_back(
      fmt::format("step {}: expected a step, got {} that overflowed", step, kMostSkips));
  return counted(step, {});
}

// What has another shape is no tensor of the step, and what has no name of one is said.
void LockstepRun::check_handed(int64_t step, TrainedStep& handed) {
  const Tensors& due = states_.front().weights;
  for (const std::string& name : handed.unknown) {
    faults_.push_back(fmt::format(
        "step {}: {}: expected loss, grad_norm, or grad/, first/, second/ or weight/ and a "
        "weight's name, got another one",
        step, golden::printable(name)));
  }
  const auto check = [&](const char* kind, Tensors& tensors) {
    std::erase_if(tensors, [&](const auto& entry) {
      const auto found = due.find(entry.first);
      if (found != due.end() && found->second.shape == entry.second.shape) return false;
      faults_.push_back(fmt::format(
          "step {}: {}{}: expected {}, got {}", step, kind, golden::printable(entry.first),
          found == due.end() ? "a weight's name" : golden::shape_text(found->second.shape),
          found == due.end() ? "another one" : golden::shape_text(entry.second.shape)));
      return true;
    });
  };
  check("grad/", handed.gradients);
  check("first/", handed.first);
  check("second/", handed.second);
  check("weight/", handed.weights);
}

// Books what is not there.
TrainedStep LockstepRun::counted(int64_t step, TrainedStep handed) {
  const HandedStep seen(handed);
  for (const std::string& name : rows_.names()) {
    if (seen.find(name) != nullptr) continue;
    missing_.insert(name);
    lacking_.emplace(step, name);
  }
  return handed;
}

// Before an accusation errors that are alike are sampled.
void LockstepRun::judge(StepView view, StepView update, int64_t step, const TrainingState& before,
                        const StepGradient& gradient, const TrainedStep& handed) {
  const HandedStep seen(handed);
  const bool knows_moments = !before.first.empty();
  const auto compare = [&](const StepGradient& due_gradient) {
    TrainingState whole = before;
    if (!knows_moments) whole.first = whole.second = states_.front().first;
    DueStep due = due_from_reference(rule_, place(step), whole, nullptr, due_gradient);
    if (!knows_moments) {
      std::erase_if(due, [](const auto& entry) {
        const std::string kind = parts_of(entry.first).first;
        return kind == "first/" || kind == "second/" || kind == "weight/";
      });
    }
    int64_t outside = rows_.compare(view, step, due, seen);
    if (!knows_moments) return outside;
    for (const auto& [name, of] : recovered_gradients(rule_, before, due_gradient, handed)) {
      outside += rows_.add_slope(view, step, name, of.due, of.got);
    }
    return outside;
  };
  const Around norm{gradient.norm, rule_.reach * gradient.norm_deviation};
  if (knows_moments) {
    rows_.compare(update, step, due_from_subject(rule_, place(step), before, handed, norm), seen);
  }
  look_for_stale(view, step, gradient, handed);
  if (compare(gradient) == 0 || accused_) return;
  accused_ = compare(gradient_at(step, before.weights, {}, true)) > 0;
  if (accused_) return;
  widened_.push_back(fmt::format(
      "step {}: errors are not independent: runs with sampled roundings give more, and that is "
      "allowed",
      step));
}

void LockstepRun::look_for_stale(StepView view, int64_t step, const StepGradient& gradient,
                                 const TrainedStep& handed) {
  const bool by_gradients = has_whole(handed.gradients, states_.front().weights);
  if (step < 2 || !(by_gradients || handed.loss)) return;
  const TrainingState* last = view == StepView::accumulated
                                  ? &states_[static_cast<std::size_t>(step - 2)]
                                  : state_before(view, step - 1);
  const auto look = [&](bool of_first, const Tensors& older) {
    const StepGradient due = gradient_at(step, older);
    staleness_.push_back(
        {step, view, of_first, by_gradients,
         by_gradients ? assay::verify::staleness(gradient, due, handed.gradients, rule_.reach)
                      : staleness_of_loss(gradient, due, *handed.loss, rule_.reach)});
  };
  look(true, states_.front().weights);
  if (step > 2 && last != nullptr && !last->weights.empty() && all_finite(last->weights))
    look(false, last->weights);
}

void LockstepRun::judge_own(int64_t step, const TrainedStep& handed) {
  const TrainingState& before = free_.before.back();
  if (before.weights.empty() || !all_finite(before.weights) || !all_finite(before.first) ||
      !all_finite(before.second)) {
    return;
  }
  const bool first = step == 1;
  try {
    judge(StepView::own, StepView::own_update, step, before,
          first ? gradient(1) : gradient_at(step, before.weights), handed);
  } catch (const InputError& error) {  // weights that the storage type does not hold
    faults_.push_back(fmt::format("step {}: from its own state: {}", step, error.what()));
  }
}

void LockstepRun::judge_accumulated(int64_t step, const TrainedStep& handed,
                                    StateDeviations& deviations) {
  const TrainingState& before = states_[static_cast<std::size_t>(step - 1)];
  const bool first = step == 1;
  const GradientSource::WeightDeviation read =
      as_read(before, deviations, rule_.arithmetic.schedule.storage, rule_.arithmetic.master);
  StateDeviations after;
  const StepGradient gradient = first ? this->gradient(1) : gradient_at(step, before.weights, read);
  if (free_.before.back().weights.empty())
    look_for_stale(StepView::accumulated, step, gradient, handed);
  const HandedStep seen(handed);
  const StateDeviations* known = first ? nullptr : &deviations;
  const DueStep due = due_from_reference(rule_, place(step), before, known, gradient, &after);
  if (rows_.compare(StepView::accumulated, step, due, seen) > 0) {
    const StepGradient wider =
        gradient_at(step, before.weights, first ? GradientSource::WeightDeviation{} : read, true);
    rows_.compare(StepView::accumulated, step,
                  due_from_reference(rule_, place(step), before, known, wider, &after), seen);
  }
  deviations = std::move(after);
}

}  // namespace assay::verify
