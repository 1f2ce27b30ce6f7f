// The reference's trainer as a subject: the control, which must pass.
#pragma once

#include "golden/contract/config.h"
#include "reference/training/trainer.h"
#include "verify/subjects/training/training_subject.h"

namespace assay::verify {

class ReferenceTrainer : public TrainingSubject {
 public:
  ReferenceTrainer(const golden::ModelConfig& config, const golden::WeightSource& weights,
                   const reference::AdamwRule& rule, const reference::Dropout& dropout = {})
      : trainer_(config, weights, rule, reference::Keep::all, dropout) {}

  std::string describe() const override { return "reference, fp64"; }
  TrainingArithmetic arithmetic() const override {
    return {.schedule = golden::usual_schedule(golden::Precision::fp64),
            .master = golden::Precision::fp64};
  }
  void set_state(const TrainingState& state) override;
  TrainedStep step(const std::vector<Batch>& micro_batches, double rate) override;

 private:
  reference::Trainer trainer_;
};

}  // namespace assay::verify
