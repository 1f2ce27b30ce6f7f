// One name everywhere: graph node, HDF5 path below /forward, implementation's tap, line of a
// report.
//
// Axes are written as one letter each: B batch, H query head, G key/value head, T query position,
// S key position, D any feature axis. A scalar has no axes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "golden/contract/methods.h"
#include "golden/contract/tensor.h"

namespace assay::golden {

// "layers/3/attn/q"
std::string layer_name(int64_t layer, const std::string& tensor);
// "layers/3/recompute/1/mlp_out": layer 1 run again on the input of layer 3
std::string recompute_name(int64_t layer, int64_t earlier, const std::string& tensor);

// Whether it is such a tensor.
bool is_recomputed(const std::string& tensor_name);

// "model.layers.2.mlp.up_proj.weight", for GPT-2 "transformer.h.2.mlp.c_fc.weight"
std::string layer_weight(const ModelConfig& config, int64_t layer, const std::string& name);

struct TensorInfo {
  std::string name;
  Shape shape;
  std::string axes;  // one letter per axis of shape
};

// Every tensor that a forward pass of the config's method computes for tokens [B,T], in order of
// computation: the checkpoints that a golden file declares. Throws InputError for an unknown method
// and for T > P of a method with parameters per position, or of a GPT-2 with P positions.
//
// attn_norm and mlp_norm are what the norms of these names compute, wherever they stand. With norm =
// post attn_norm comes after attn_residual and is what the MLP reads (recompute/{j}/attn_norm
// likewise), mlp_residual is what the second norm reads and output what it computes; there is no
// final_norm. GPT-2 has no mlp/gate: mlp/up enters the GELU and mlp/act leaves it.
//
// attn/sum and mlp/sum are what a method adds at its site: the sum over earlier layers in methods
// 1, 2 and the plans; in 3.x and 4.x the mean of all m terms, the layer's own output among them.
//
// Method pt (options in golden/contract/prob_transformer.h): embed [B,T,Dz] are the unary scores, pt/0/labels
// their softmax, pt/0/heads uniform heads where inference reads them; then per round n = 1 .. N
//   pt/{n}/q, k                 Qz U, Qz V             [B,K*C,T,r], channel k*C + c; q where read
//   pt/{n}/scores, heads        F / lambda_h, masked, and Qh   [B,C,T,T] of word t, head s (BHTS)
//   pt/{n}/message/{g}, /sum    a group's G and their sum      [B,T,Dz]
//   pt/{n}/label_scores, labels (S + G) / lambda_z and Qz      [B,T,Dz]
// scores and label_scores are damped, heads and labels stepped. With several head groups q, k,
// scores and heads end in /{g}; with several label groups embed, q, k, label_scores and labels do,
// and there is no message/sum, for each label group hears its own.
std::vector<TensorInfo> tensor_list(const ModelConfig& config, int64_t batch, int64_t positions);

// The weights under their Hugging Face names, in the order of a LlamaForCausalLM or GPT2LMHeadModel
// state dict, each layer's followed by what its method learns. lm_head.weight is absent when tied.
// GPT-2's matrices are stored [in,out]; c_attn holds Wq, Wk, Wv side by side.
//
// Method pt: model.unary.weight [V,Dz], model.groups.{g}.u.weight and .v.weight [K*C*r,Dz], whose row
// (k*C + c)*r + i is column i of U^(c) of distance group k, lm_head.weight [V,Dz]; with several label
// groups model.unary.{g}.weight and lm_head.{g}.weight.
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
