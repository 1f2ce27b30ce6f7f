#include "cli/engine/engine_trainer.h"

#include <utility>

#include "cli/engine/engine_subject.h"

namespace assay::cli {
namespace {

cuda::ReceiveTensor trained_into(verify::Tensors& tensors) {
  return [&tensors](const std::string& name, const golden::TensorView& value) {
    tensors[name] = {value.shape, {value.values.begin(), value.values.end()}};
  };
}

}  // namespace

cuda::TrainingOptions engine_rule(const reference::AdamwRule& rule,
                                  const reference::Dropout& dropout,
                                  const cuda::ModelOptions& model) {
  return {.beta1 = rule.beta1,
          .beta2 = rule.beta2,
          .eps = rule.eps,
          .weight_decay = rule.weight_decay,
          .max_norm = rule.max_norm,
          .dropout = dropout.rate,
          .dropout_seed = dropout.seed,
          .model = model};
}

EngineTrainer::EngineTrainer(std::string description, const golden::PrecisionSchedule& schedule,
                             MakeTrainer make)
    : description_(std::move(description)), schedule_(schedule), make_(std::move(make)) {}

// The loss scale is no part of a state that somebody gives: the trainer keeps the one it has found.
void EngineTrainer::set_state(const verify::TrainingState& state) {
  const double scale = trainer_ == nullptr ? 0 : trainer_->progress().loss_scale;
  trainer_ = make_(verify::HeldTensors(state.weights));
  cuda::Progress progress = trainer_->progress();
  progress.steps = state.steps;
  if (scale > 0) progress.loss_scale = scale;
  trainer_->restore(progress, verify::HeldTensors(state.first), verify::HeldTensors(state.second));
}

verify::TrainedStep EngineTrainer::step(const std::vector<verify::Batch>& micro_batches,
                                        double rate) {
  for (const verify::Batch& batch : micro_batches) trainer_->accumulate(engine_batch(batch));
  verify::TrainedStep step;
  trainer_->read_gradients(trained_into(step.gradients));
  const cuda::StepReport report = trainer_->step(rate);
  step.skipped = report.skipped;
  step.loss = report.loss;
  step.gradient_norm = report.gradient_norm;
  trainer_->read_weights(trained_into(step.weights));
  trainer_->read_moments(trained_into(step.first), trained_into(step.second));
  return step;
}

}  // namespace assay::cli
