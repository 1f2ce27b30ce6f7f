// What is trained: the reference, or the engine on the host or on a GPU.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cli/train/options.h"
#include "cli/train/rows.h"
#include "cuda_impl/engine/interface/trainer.h"
#include "golden/contract/config.h"
#include "golden/contract/weights.h"
#include "golden/file/element.h"

namespace assay::cli {

struct TrainStep {
  double loss = 0, gradient_norm = 0;
  bool skipped = false;
  std::map<std::string, double> layer_norms;  // of gradients, by part_of()
};

class TrainBackend {
 public:
  using Receive = std::function<void(const std::string& name, golden::TensorView value)>;
  using Progress = cuda::Progress;

  virtual ~TrainBackend() = default;
  virtual void accumulate(const TrainRows& rows) = 0;
  virtual TrainStep step(double learning_rate) = 0;
  // -log q of the label that each position predicts, [N, T - ahead]; 0 where none counts.
  virtual std::vector<double> losses(const TrainRows& rows) = 0;

  virtual void read_weights(const Receive& receive) const = 0;
  virtual void read_moments(const Receive& first, const Receive& second) const = 0;
  virtual Progress progress() const = 0;
  // Of a backend that was made from the weights of the state.
  virtual void restore(const Progress& progress, const golden::WeightSource& first,
                       const golden::WeightSource& second) = 0;
  // The most that was taken at a time: by the reference for all that it holds, by an engine's
  // passes and gradients beside weights and moments.
  virtual int64_t peak_bytes() const = 0;
  // Holds weights and moments exactly.
  virtual golden::Element element() const = 0;
};

// Throws InputError for what the backend cannot do, a missing device among it.
std::unique_ptr<TrainBackend> make_train_backend(const TrainRunOptions& options,
                                                 const golden::ModelConfig& config,
                                                 const golden::WeightSource& weights);

// Weights by name, in memory.
class HeldTensors : public golden::WeightSource {
 public:
  void read(const std::string& name, std::span<double> out) const override;
  TrainBackend::Receive receive();

 private:
  std::map<std::string, std::vector<double>> values_;
};

int64_t parameters_of(const golden::ModelConfig& config);

// Where training starts without a checkpoint: gains of 1, biases of 0, learned parameters of the
// method as the config says, matrices as drawn (golden::SyntheticWeights) with a head whose
// logits begin near 0.
class InitialWeights : public golden::WeightSource {
 public:
  InitialWeights(const golden::ModelConfig& config, uint64_t seed);
  void read(const std::string& name, std::span<double> out) const override;

 private:
  golden::SyntheticWeights drawn_;
  std::map<std::string, golden::Shape> shapes_;
  std::set<std::string> learned_;
};

// "layers/3", "groups/0", "embed", "final_norm", "head": the part of a model a weight is of.
std::string part_of(const std::string& weight);

}  // namespace assay::cli
