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

// More elements than this is a mistake, a damaged file or an attack: of a tensor (element_count
// throws InputError), and of all tensors of a model together.
inline constexpr int64_t kMostElements = int64_t{1} << 40;

// Layers or rounds of a model: lists of tensors grow with their square.
inline constexpr int64_t kMostLayers = 1024;

// Every tensor that a forward pass of the config's method computes for tokens [B,T], in order of
// computation: the checkpoints that a golden file declares. tensor_meanings.h says what each is.
// Throws InputError for an unknown method and for T > P of a method with parameters per position,
// or of a GPT-2 with P positions, and for more than kMostElements elements.
//
// Method pt with several head groups: q, k, scores and heads end in /{g}; with several label
// groups embed, q, k, label_scores and labels do, and there is no message/sum, for each label
// group hears its own. (golden/contract/prob_transformer.h has its options.)
std::vector<TensorInfo> tensor_list(const ModelConfig& config, int64_t batch, int64_t positions);

// The weights under their Hugging Face names, in the order of a state dict of the family's class
// (LlamaForCausalLM, Qwen3ForCausalLM, GPT2LMHeadModel ..), each layer's followed by what its
// method learns. lm_head.weight is absent when tied. GPT-2's matrices are stored [in,out]; c_attn
// holds Wq, Wk, Wv side by side.
//
// Method pt: model.unary.weight [V,Dz], model.groups.{g}.u.weight and .v.weight [K*C*r,Dz], whose
// row (k*C + c)*r + i is column i of U^(c) of distance group k, lm_head.weight [V,Dz]; with several
// label groups model.unary.{g}.weight and lm_head.{g}.weight.
std::vector<TensorInfo> weight_list(const ModelConfig& config);

// What the method learns in layer l: the weight and where its numbers come from.
struct LearnedWeight {
  TensorInfo info;      // "model.layers.2.self_attn.score.alpha"
  Parameter parameter;  // its row of the table of methods
};
std::vector<LearnedWeight> learned_weights(const ModelConfig& config, int64_t layer);

// Throws InputError, which names the tensor, if a run of the model on tokens [B,T] would pass a
// limit, before anything of such a size is made.
void check_sizes(const ModelConfig& config, int64_t batch, int64_t positions);

// A name or text from a file as it may reach a terminal: '?' stands for each control character, of
// ASCII and of C1 (U+0080 .. U+009F), and for those that turn the direction of writing (U+202A ..
// U+202E, U+2066 .. U+2069).
std::string one_line(const std::string& text);

// Shell-style pattern, or several with commas: * matches any characters, ? one. "" matches all.
bool matches(const std::string& pattern, const std::string& name);

}  // namespace assay::golden
