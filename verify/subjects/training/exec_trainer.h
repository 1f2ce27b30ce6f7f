// A program that trains (docs/programs.md: "step"), as a subject of lockstep.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "reference/training/adamw.h"
#include "verify/subjects/exec_subject.h"
#include "verify/subjects/training/training_subject.h"

namespace assay::verify {

class ExecTrainer : public TrainingSubject {
 public:
  // Starts the program. Throws InputError for one that does not say that it can train. `config` and
  // `weights` must outlive the subject.
  ExecTrainer(const ExecOptions& options, const golden::ModelConfig& config,
              const golden::WeightSource& weights, const reference::AdamwRule& rule);

  std::string describe() const override;
  TrainingArithmetic arithmetic() const override;
  void set_state(const TrainingState& state) override { state_ = state; }
  TrainedStep step(const std::vector<Batch>& micro_batches, double rate) override;

 private:
  nlohmann::json write(const std::vector<Batch>& micro_batches, double rate,
                       const std::string& folder, int64_t id) const;

  ExecSubject program_;
  std::vector<std::string> decaying_;
  reference::AdamwRule rule_;
  std::optional<TrainingState> state_;  // to be taken over by the next step
};

}  // namespace assay::verify
