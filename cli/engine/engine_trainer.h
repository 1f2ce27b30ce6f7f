// Our engine's trainer as a subject of lockstep, on either back end.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cuda_impl/engine/interface/trainer.h"
#include "golden/contract/config.h"
#include "reference/training/adamw.h"
#include "reference/training/dropout.h"
#include "verify/subjects/training/training_subject.h"

namespace assay::cli {

cuda::TrainingOptions engine_rule(const reference::AdamwRule& rule,
                                  const reference::Dropout& dropout,
                                  const cuda::ModelOptions& model);

class EngineTrainer : public verify::TrainingSubject {
 public:
  using MakeTrainer = std::function<std::unique_ptr<cuda::Trainer>(const golden::WeightSource&)>;

  // description: "simt, bf16 storage, fp32 accumulation".
  EngineTrainer(std::string description, const golden::PrecisionSchedule& schedule,
                MakeTrainer make);

  std::string describe() const override { return description_; }
  verify::TrainingArithmetic arithmetic() const override {
    return {.schedule = schedule_, .master = schedule_.accumulate};
  }
  void set_state(const verify::TrainingState& state) override;
  verify::TrainedStep step(const std::vector<verify::Batch>& micro_batches, double rate) override;

 private:
  const std::string description_;
  const golden::PrecisionSchedule schedule_;
  const MakeTrainer make_;
  std::unique_ptr<cuda::Trainer> trainer_;
};

}  // namespace assay::cli
