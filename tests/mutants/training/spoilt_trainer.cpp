#include "tests/mutants/training/spoilt_trainer.h"

#include <algorithm>
#include <cmath>

#include "verify/lockstep/micro_batches.h"

namespace assay::mutants {
namespace {

using verify::Batch;
using verify::Tensors;
using Defect = TrainingDefect;

constexpr double kLossScale = 1024;

Tensors zeros_like(const Tensors& tensors) {
  Tensors zeros = tensors;
  for (auto& [name, tensor] : zeros) std::fill(tensor.values.begin(), tensor.values.end(), 0.0);
  return zeros;
}

void add(Tensors& sum, double factor, const Tensors& x) {
  for (auto& [name, tensor] : sum) {
    const std::vector<double>& values = x.at(name).values;
    for (std::size_t i = 0; i < values.size(); ++i) tensor.values[i] += factor * values[i];
  }
}

double square_sum(const golden::Tensor& tensor) {
  double sum = 0;
  for (const double x : tensor.values) sum += x * x;
  return sum;
}

}  // namespace

SpoiltTrainer::SpoiltTrainer(TrainingDefect defect, const golden::ModelConfig& config,
                             const golden::WeightSource& weights, const reference::AdamwRule& rule,
                             golden::Precision precision, std::vector<std::string> hides)
    : defect_(defect),
      precision_(precision),
      hides_(std::move(hides)),
      rule_(rule),
      reference_(config, weights) {}

verify::TrainingArithmetic SpoiltTrainer::arithmetic() const {
  return {.schedule = golden::usual_schedule(precision_), .master = precision_};
}

void SpoiltTrainer::set_state(const verify::TrainingState& state) {
  const int64_t steps = is(Defect::steps_not_taken_over) ? state_.steps : state.steps;
  state_ = state;
  state_.steps = steps;
  last_gradients_.clear();
  if (state.steps == 0) last_rate_.reset();
  if (first_weights_.empty()) first_weights_ = state.weights;
  last_weights_ = state.weights;
}

const Tensors& SpoiltTrainer::read_weights() const {
  return is(Defect::model_keeps_its_first_weights)     ? first_weights_
         : is(Defect::model_reads_weights_a_step_late) ? last_weights_
                                                       : state_.weights;
}

// The gradient of the mean loss over all of them.
void SpoiltTrainer::add_gradients(const std::vector<Batch>& batches, Tensors& sum) const {
  const Tensors none = zeros_like(state_.weights);
  reference_.restore(verify::HeldTensors(read_weights()), verify::HeldTensors(none),
                     verify::HeldTensors(none), 0);
  for (const Batch& batch : batches) reference_.accumulate(verify::training_batch(batch));
  reference_.step(0);
  for (auto& [name, tensor] : sum) {
    const auto gradient = reference_.gradient(name);
    for (std::size_t i = 0; i < gradient.size(); ++i) tensor.values[i] += gradient[i];
  }
}

Tensors SpoiltTrainer::gradients(const std::vector<Batch>& micro_batches, double& loss) {
  Tensors sum = zeros_like(state_.weights);
  add_gradients(micro_batches, sum);
  reference_.restore(verify::HeldTensors(read_weights()), verify::HeldTensors(state_.first),
                     verify::HeldTensors(state_.second), 0);
  for (const Batch& batch : micro_batches) reference_.accumulate(verify::training_batch(batch));
  loss = reference_.step(0).loss;
  if (is(Defect::mean_of_micro_batches)) {
    sum = zeros_like(sum);
    for (const Batch& batch : micro_batches) {
      Tensors one = zeros_like(sum);
      add_gradients({batch}, one);
      add(sum, 1.0 / static_cast<double>(micro_batches.size()), one);
    }
  }
  if (is(Defect::last_micro_batch_alone)) {
    sum = zeros_like(sum);
    add_gradients({micro_batches.back()}, sum);
  }
  if (is(Defect::loss_scale_left_in)) add(sum, kLossScale - 1, Tensors(sum));
  if (is(Defect::gradients_not_cleared) && !last_gradients_.empty()) {
    add(sum, 1, last_gradients_);
  }
  for (auto& [name, tensor] : sum) {
    for (double& x : tensor.values) x = rounded(x);
  }
  return sum;
}

double SpoiltTrainer::norm_of(const Tensors& gradients) const {
  double squares = 0;
  for (const auto& [name, gradient] : gradients) {
    if (is(Defect::norm_without_embedding) && name.find("embed") != std::string::npos) continue;
    squares += square_sum(gradient);
  }
  return std::sqrt(squares);
}

verify::TrainedStep SpoiltTrainer::step(const std::vector<Batch>& micro_batches, double rate) {
  double loss = 0;
  const Tensors gradients = this->gradients(micro_batches, loss);
  const double norm = norm_of(gradients);
  last_weights_ = state_.weights;
  update(gradients, norm, rate);
  last_gradients_ = gradients;
  last_rate_ = rate;
  const auto shows = [&](const char* kind) {
    return std::find(hides_.begin(), hides_.end(), kind) == hides_.end();
  };
  verify::TrainedStep step;
  if (shows("loss")) step.loss = loss;
  if (shows("grad_norm")) step.gradient_norm = norm;
  if (shows("grad/")) step.gradients = gradients;
  if (shows("first/")) step.first = state_.first;
  if (shows("second/")) step.second = state_.second;
  if (shows("weight/")) step.weights = state_.weights;
  return step;
}

void SpoiltTrainer::update(const Tensors& gradients, double norm, double rate) {
  ++state_.steps;
  if (is(Defect::moments_lost)) {
    state_.first = state_.second = zeros_like(state_.weights);
  }
  const double used = is(Defect::schedule_off_by_one) ? last_rate_.value_or(rate) : rate;
  for (const auto& [name, gradient] : gradients) {
    const double own = is(Defect::clipping_by_tensor) ? std::sqrt(square_sum(gradient)) : norm;
    const bool clips = rule_.max_norm > 0 && own > rule_.max_norm && !is(Defect::no_clipping);
    update_weight(name, gradient, clips ? rule_.max_norm / own : 1, used);
  }
}

void SpoiltTrainer::update_weight(const std::string& name, const golden::Tensor& gradient,
                                  double clip, double rate) {
  const bool swapped = is(Defect::betas_exchanged);
  const double beta1 = swapped ? rule_.beta2 : rule_.beta1;
  const double beta2 = swapped ? rule_.beta1 : rule_.beta2;
  const double n = static_cast<double>(state_.steps + (is(Defect::steps_off_by_one) ? 1 : 0));
  const bool corrects = !is(Defect::no_bias_correction);
  const double correction1 = corrects ? 1 - std::pow(beta1, n) : 1;
  const double correction2 =
      corrects && !is(Defect::no_second_bias_correction) ? 1 - std::pow(beta2, n) : 1;
  const bool decaying = gradient.shape.size() >= 2 || is(Defect::decay_of_norms);
  double decay = decaying ? rule_.weight_decay : 0;
  const double coupled = is(Defect::decay_through_the_moments) ? decay : 0;
  if (coupled > 0) decay = 0;
  if (is(Defect::decay_without_the_rate)) decay /= rate;
  if (is(Defect::loss_scale_in_the_moments)) clip *= kLossScale;
  std::vector<double>& weight = state_.weights.at(name).values;
  std::vector<double>& first = state_.first.at(name).values;
  std::vector<double>& second = state_.second.at(name).values;
  const bool stays =
      is(Defect::a_weight_never_updated) && name.find("up_proj") != std::string::npos;
  for (std::size_t i = 0; i < weight.size(); ++i) {
    const double g = clip * gradient.values[i] + coupled * weight[i];
    const double squared = is(Defect::second_moment_not_clipped) ? gradient.values[i] : g;
    const double old = first[i];
    if (!is(Defect::first_moment_kept)) first[i] = rounded(beta1 * old + (1 - beta1) * g);
    if (is(Defect::first_moments_rounded_to_bf16)) {
      first[i] = golden::round_to(golden::Precision::bf16, first[i]);
    }
    second[i] = rounded(beta2 * second[i] + (1 - beta2) * squared * squared);
    const double corrected = second[i] / correction2;
    const double root = is(Defect::eps_inside_the_root) ? std::sqrt(corrected + rule_.eps)
                                                        : std::sqrt(corrected) + rule_.eps;
    double direction = (is(Defect::stale_first_moment) ? old : first[i]) / correction1 / root;
    if (is(Defect::step_uphill)) direction = -direction;
    if (stays) continue;
    weight[i] = rounded(weight[i] - rate * (direction + decay * weight[i]));
    if (is(Defect::weights_rounded_to_bf16)) {
      weight[i] = golden::round_to(golden::Precision::bf16, weight[i]);
    }
  }
}

}  // namespace assay::mutants
