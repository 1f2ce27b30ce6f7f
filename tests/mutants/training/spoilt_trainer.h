// A trainer on the reference's gradients with an AdamW of its own, which can be spoilt: the carrier
// of planted defects of training, and, with none, their clean twin.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "reference/training/trainer.h"
#include "verify/subjects/training/training_subject.h"

namespace assay::mutants {

enum class TrainingDefect {
  none,
  no_bias_correction,
  no_second_bias_correction,
  eps_inside_the_root,
  decay_of_norms,
  decay_through_the_moments,
  decay_without_the_rate,
  no_clipping,
  clipping_by_tensor,
  second_moment_not_clipped,
  norm_without_embedding,
  mean_of_micro_batches,
  last_micro_batch_alone,
  loss_scale_left_in,
  loss_scale_in_the_moments,
  stale_first_moment,
  first_moment_kept,
  moments_lost,
  betas_exchanged,
  schedule_off_by_one,
  steps_off_by_one,
  steps_not_taken_over,
  gradients_not_cleared,
  a_weight_never_updated,
  weights_rounded_to_bf16,
  first_moments_rounded_to_bf16,
  step_uphill,
  model_keeps_its_first_weights,
  model_reads_weights_a_step_late
};

class SpoiltTrainer : public verify::TrainingSubject {
 public:
  // In fp64 or fp32; hides: kinds of what it does not hand over, "grad/", "first/", ..
  SpoiltTrainer(TrainingDefect defect, const golden::ModelConfig& config,
                const golden::WeightSource& weights, const reference::AdamwRule& rule,
                golden::Precision precision, std::vector<std::string> hides = {});

  std::string describe() const override { return "plain loops"; }
  verify::TrainingArithmetic arithmetic() const override;
  void set_state(const verify::TrainingState& state) override;
  verify::TrainedStep step(const std::vector<verify::Batch>& micro_batches, double rate) override;

 private:
  bool is(TrainingDefect defect) const { return defect_ == defect; }
  const verify::Tensors& read_weights() const;
  void add_gradients(const std::vector<verify::Batch>& batches, verify::Tensors& sum) const;
  verify::Tensors gradients(const std::vector<verify::Batch>& micro_batches, double& loss);
  double norm_of(const verify::Tensors& gradients) const;
  void update(const verify::Tensors& gradients, double norm, double rate);
  void update_weight(const std::string& name, const golden::Tensor& gradient, double clip,
                     double rate);
  double rounded(double x) const { return golden::round_to(precision_, x); }

  const TrainingDefect defect_;
  const golden::Precision precision_;
  const std::vector<std::string> hides_;
  const reference::AdamwRule rule_;
  mutable reference::Trainer reference_;  // of gradients alone
  verify::TrainingState state_;
  verify::Tensors last_gradients_, first_weights_, last_weights_;
  std::optional<double> last_rate_;
};

}  // namespace assay::mutants
