// What can train: takes a state and micro-batches, hands over what a step of AdamW made of them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "golden/contract/precision.h"
#include "golden/contract/tensor.h"
#include "golden/contract/weights.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

using Tensors = std::map<std::string, golden::Tensor>;  // by the weight's name

struct TrainingState {
  int64_t steps = 0;  // taken so far
  Tensors weights, first, second;
};

// Tensors as a source of weights.
class HeldTensors : public golden::WeightSource {
 public:
  explicit HeldTensors(const Tensors& tensors) : tensors_(tensors) {}
  void read(const std::string& name, std::span<double> out) const override;

 private:
  const Tensors& tensors_;
};

// What a subject handed over of a step; what it does not hand over is empty.
struct TrainedStep {
  // It overflowed, and nothing has changed but its loss scale: the same step is asked for again.
  bool skipped = false;
  std::optional<double> loss;             // mean over the counted positions of all micro-batches
  std::optional<double> gradient_norm;    // of all gradients together, before clipping
  Tensors gradients;                      // of that loss, unscaled, before clipping
  Tensors weights, first, second;         // after the step
  std::vector<std::string> unknown = {};  // names that are none of these
};

// What bounds of a step depend on.
struct TrainingArithmetic {
  golden::PrecisionSchedule schedule;  // of the forward and the backward pass
  // In which weights and moments are kept and an update is computed.
  golden::Precision master = golden::Precision::fp32;
  // 1 - beta^n and its kind are formed in double, whatever the master type is.
  bool double_scalars = true;
  // e of clip = max_norm / (norm + e); absent: 0 or PyTorch's 1e-6, nobody says which.
  std::optional<double> clip_epsilon = 0.0;
};

class TrainingSubject {
 public:
  virtual ~TrainingSubject() = default;
  virtual std::string describe() const = 0;
  virtual TrainingArithmetic arithmetic() const = 0;
  // Takes this state in place of its own, all of it. Its values are those of the master type.
  virtual void set_state(const TrainingState& state) = 0;
  virtual TrainedStep step(const std::vector<Batch>& micro_batches, double rate) = 0;
};

}  // namespace assay::verify
