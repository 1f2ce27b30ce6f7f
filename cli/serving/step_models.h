// What a server can have behind it: the reference's streamed model, and the engine's decoder on the
// host or on a GPU. And wrappers: one that takes time, one whose memory is counted in blocks.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cuda_impl/serving/block_budget.h"
#include "cuda_impl/serving/step_model.h"
#include "golden/contract/config.h"
#include "golden/contract/precision.h"
#include "golden/contract/weights.h"

namespace assay::cli {

using StepModelPointer = std::unique_ptr<serving::StepModel>;

// Makes models of one config and weights, each with caches of its own.
using MakeStepModel = std::function<StepModelPointer(int64_t slots, int64_t capacity)>;

// Logits [T,V] of a forward pass over a whole sequence: no cache, no step.
using WholePass = std::function<std::vector<double>(std::span<const int32_t> tokens)>;

struct ServedModels {
  MakeStepModel make;
  WholePass whole;
};

// backend: reference[:left] (the side that shorter rows are filled up on), simt[:..], cuda[:..].
// blocks: of the cache of an engine; 0 blocks: as the back end's name says.
// Throws InputError for another one, and for a precision that it does not compute in; NoDevice for
// cuda without a GPU. Config and weights outlive what is made.
ServedModels step_models(const std::string& backend, const std::string& precision,
                         const golden::ModelConfig& config, const golden::WeightSource& weights,
                         const serving::BlockOptions& blocks = {});

// What a step takes.
struct StepCost {
  double step_s = 0.005, token_s = 0.0001;  // seconds of a step, and of each token in it
};

// Time that steps move on, by what they cost or by what they take, and nobody waits for.
class StepClock {
 public:
  double now_s = 0;
};

// Wraps a model, which outlives it. wall: a step takes what the clock on the wall says.
class TimedModel : public serving::StepModelWrapper {
 public:
  TimedModel(serving::StepModel& model, StepClock& clock, const StepCost& cost, bool wall)
      : StepModelWrapper(model), clock_(clock), cost_(cost), wall_(wall) {}
  void step(std::span<const serving::SlotTokens> batch, std::span<double> logits) override;

 private:
  StepClock& clock_;
  StepCost cost_;
  bool wall_;
};

}  // namespace assay::cli
