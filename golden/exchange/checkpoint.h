// A Hugging Face checkpoint folder as a source of weights: config.json and model.safetensors, or
// model.safetensors.index.json and the shards it names.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "golden/contract/config.h"
#include "golden/contract/weights.h"

namespace assay::golden {

// A config.json: what every command and option reads one with. Throws InputError as parse_config
// does, and for JSON that parse_strict_json does not accept.
ModelConfig read_config(const std::string& path);

// The config.json of the folder.
ModelConfig read_checkpoint_config(const std::string& folder);

// Weights are converted to double when they are asked for, exactly; nothing is kept. Opening checks
// names, shapes and types of everything against the config: missing, surplus, mis-shaped and
// misplaced tensors are one InputError that lists them. A name may lack its first part ("model." or
// "transformer."). Surplus tensors that carry nothing are passed over: buffers that follow from the
// config, and lm_head.weight when it is tied and equal to the embedding.
class CheckpointWeights : public WeightSource {
 public:
  CheckpointWeights(const std::string& folder, const ModelConfig& config);
  ~CheckpointWeights() override;

  void read(const std::string& name, std::span<double> out) const override;

  // What identifies the weights, as JSON: a list of {"file", "bytes", "xxh3_128"}, by name. Reads
  // every file once.
  std::string contents() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace assay::golden
