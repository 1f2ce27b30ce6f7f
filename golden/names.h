// One name everywhere: graph node, HDF5 path below /forward, implementation's tap, line of a
// report.
//
// Axes are written as one letter each: B batch, H query head, G key/value head, T query position,
// S key position, D any feature axis. A scalar has no axes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "golden/config.h"
#include "golden/methods.h"
#include "golden/tensor.h"

namespace assay::golden {

// "layers/3/attn/q"
std::string layer_name(int64_t layer, const std::string& tensor);
// "layers/3/recompute/1/mlp_out": layer 1 run again on the input of layer 3
std::string recompute_name(int64_t layer, int64_t earlier, const std::string& tensor);

struct TensorInfo {
  std::string name;
  Shape shape;
  std::string axes;  // one letter per axis of shape
};

// Every tensor that a forward pass of the config's method computes for tokens [B,T], in order of
// computation: the checkpoints that a golden file declares. Throws InputError for an unknown method
// and for T > P of a method with parameters per position.
//
// attn/sum and mlp/sum are what a method adds at its site: the sum over earlier layers in methods
// 1, 2 and the plans; in 3.x and 4.x the mean of all m terms, the layer's own output among them.
std::vector<TensorInfo> tensor_list(const ModelConfig& config, int64_t batch, int64_t positions);

// The weights under their Hugging Face names, in the order of a LlamaForCausalLM state dict, each
// layer's followed by what its method learns. lm_head.weight is absent when tied.
std::vector<TensorInfo> weight_list(const ModelConfig& config);

// What the method learns in layer l: the weight and where its numbers come from.
struct LearnedWeight {
  TensorInfo info;      // "model.layers.2.self_attn.score.alpha"
  Parameter parameter;  // its row of the table of methods
};
std::vector<LearnedWeight> learned_weights(const ModelConfig& config, int64_t layer);

// Shell-style pattern: * matches any run of characters, ? one. "" matches everything.
bool matches(const std::string& pattern, const std::string& name);

}  // namespace assay::golden
