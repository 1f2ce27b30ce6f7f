// Training on the kernels of the engine: AdamW on master weights, from gradients summed over
// micro-batches.
//
// With kernels that store their results as S, the master weights, their moments and the gradients
// are fp32, or fp64 where S is; what the kernels read are the master weights rounded to S. Beside
// the arrays of a gradient a weight costs 3 numbers of the master's type and one S.
#pragma once

#include "cuda_impl/engine/interface/model.h"

namespace assay::cuda {

struct TrainingOptions {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  // Decoupled: a step takes rate * weight_decay of the weight itself. Of weights with two
  // dimensions or more in the checkpoint; norms, biases, and learned vectors and scalars do not
  // decay.
  double weight_decay = 0;
  double max_norm = 0;  // of all gradients together; 0: no clipping
  // In fp16 alone: what the loss is multiplied by at first. A step that overflows is skipped and
  // halves it; 2000 good steps in a row double it.
  double loss_scale = 65536;
  // The share of O_l and U_l that is dropped where they enter the stream, others being divided by 1
  // - dropout; what earlier layers are run again for is not, and pt has no such branches. Masks are
  // pure functions of seed, step, branch and element (blocks/dropout_masks.h).
  double dropout = 0;
  uint64_t dropout_seed = 1;
  ModelOptions model = {};
};

struct StepReport {
  double loss = 0;           // mean over the counted positions of the step's micro-batches
  double gradient_norm = 0;  // of the gradient of that loss, before clipping
  bool skipped = false;      // it was not finite: no weight, moment or count has changed
};

// What a trainer knows beside weights and moments.
struct Progress {
  int64_t steps = 0;       // taken, skipped ones not counted
  int64_t good_steps = 0;  // since the loss scale last changed or a step was skipped
  double loss_scale = 1;
};

class Trainer {
 public:
  virtual ~Trainer() = default;
  // A forward and a backward pass over a micro-batch. A step's micro-batches equal one batch of all
  // of them: every counted position weighs the same, wherever it stands. Throws InputError, with
  // nothing added, for a batch that does not fit the config.
  virtual void accumulate(const Batch& batch) = 0;
  // One step of AdamW on every weight; the next one starts from gradients of 0. Throws InputError
  // if no position was counted since the last step, or for a rate that is not finite and at least
  // 0.
  virtual StepReport step(double learning_rate) = 0;

  // The gradient of the mean loss over the positions counted since the last step, without the loss
  // scale and before clipping; what overflowed is not finite. 0 where nothing was counted.
  virtual void read_gradients(const ReceiveTensor& receive) const = 0;
  // The master weights.
  virtual void read_weights(const ReceiveTensor& receive) const = 0;
  // The first and second moments, by their weights' names. A trainer made from the weights of
  // another one and restored from the rest of its state goes on as that one would, bit for bit.
  virtual void read_moments(const ReceiveTensor& first, const ReceiveTensor& second) const = 0;
  virtual Progress progress() const = 0;
  // Of device memory for passes and gradients so far, beside weights and moments:
  // ModelOptions::keep says what it depends on.
  virtual std::size_t bytes() const = 0;
  virtual void restore(const Progress& progress, const golden::WeightSource& first,
                       const golden::WeightSource& second) = 0;
};

// Precisions as make_host_model and make_device_model have them. Throws InputError for an option
// out of range.
std::unique_ptr<Trainer> make_host_trainer(const golden::ModelConfig& config,
                                           golden::Precision precision,
                                           const golden::WeightSource& weights,
                                           const TrainingOptions& options = {});
std::unique_ptr<Trainer> make_device_trainer(const golden::ModelConfig& config,
                                             golden::Precision precision,
                                             const golden::WeightSource& weights,
                                             const TrainingOptions& options = {});

}  // namespace assay::cuda
