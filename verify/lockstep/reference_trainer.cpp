#include "verify/lockstep/reference_trainer.h"

#include "verify/lockstep/micro_batches.h"

namespace assay::verify {

void ReferenceTrainer::set_state(const TrainingState& state) {
  trainer_.restore(HeldTensors(state.weights), HeldTensors(state.first), HeldTensors(state.second),
                   state.steps);
}

TrainedStep ReferenceTrainer::step(const std::vector<Batch>& micro_batches, double rate) {
  for (const Batch& batch : micro_batches) trainer_.accumulate(training_batch(batch));
  const reference::TrainingStep report = trainer_.step(rate);
  TrainedStep step{.skipped = report.skipped,
                   .loss = report.loss,
                   .gradient_norm = report.gradient_norm,
                   .gradients = {},
                   .weights = {},
                   .first = {},
                   .second = {}};
  for (const golden::TensorInfo& info : trainer_.weights()) {
    const auto copy = [&](std::span<const double> values) {
      return golden::Tensor{info.shape, {values.begin(), values.end()}};
    };
    if (!step.skipped) step.gradients[info.name] = copy(trainer_.gradient(info.name));
    step.weights[info.name] = copy(trainer_.weight(info.name));
    step.first[info.name] = copy(trainer_.first_moment(info.name));
    step.second[info.name] = copy(trainer_.second_moment(info.name));
  }
  return step;
}

}  // namespace assay::verify
