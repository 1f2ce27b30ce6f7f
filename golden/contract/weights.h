// Where weights come from.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "golden/contract/config.h"
#include "golden/contract/names.h"

namespace assay::golden {

// Weights by Hugging Face name, stored as in a state dict: Llama's matrices [out,in], GPT-2's
// [in,out].
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // Fills `out`, whose size is that of the weight. Throws InputError for an unknown name or size.
  virtual void read(const std::string& name, std::span<double> out) const = 0;
};

// Weights drawn from the counter-based generator of golden/contract/random.h, stream = the weight's
// name. Every value is exactly representable in bfloat16, so fp64, fp32 and bf16 candidates compute
// with the very same weights and weight rounding never enters an error.
//
//   norm gains          uniform in [0.5, 1.5)
//   q_norm, k_norm      uniform in [0.75, 1.75): normed heads have deviation 1 without them, and
//                       attention is neither flat nor one-hot
//   biases              uniform in [-0.5, 0.5)
//   embed_tokens        uniform, standard deviation 1
//   wte, wpe            uniform, standard deviation 3/sqrt(D) and 1.5/sqrt(D): a tied head's logits
//                       have a standard deviation of about 3
//   q_proj, k_proj, and their columns of c_attn
//                       uniform, standard deviation 1.25/sqrt(fan_in): attention neither flat nor
//                       one-hot
//   unary of pt         uniform, standard deviation 1
//   u, v of pt          uniform, standard deviation 0.75 r^(-1/4): heads neither flat nor one-hot
//   all other matrices  uniform, standard deviation 1/sqrt(fan_in)
//   learned parameters  Params::generic: as golden/contract/methods.h says of each;
//                       Params::initial: exactly the values that training starts from, which
//                       bfloat16 may not hold (normal
//                       ones it does: they are rounded to it)
class SyntheticWeights : public WeightSource {
 public:
  SyntheticWeights(const ModelConfig& config, uint64_t seed);
  void read(const std::string& name, std::span<double> out) const override;

 private:
  ModelConfig config_;
  std::vector<TensorInfo> list_;
  std::unordered_map<std::string, Parameter> learned_;  // by weight name
  uint64_t seed_;
};

// What a masked language model is asked: about 15 % of the positions that are not padding are
// masked, drawn from stream "masked positions", at least one. There the label is the token and the
// token becomes the last one of the vocabulary; everywhere else the label is -100.
struct MaskedTokens {
  std::vector<int32_t> tokens, labels;  // [B,T]
};
MaskedTokens mask_tokens(const std::vector<int32_t>& tokens,
                         const std::vector<uint8_t>& attention_mask, int64_t vocab_size,
                         uint64_t seed);

// Tokens [B,T], uniform over the vocabulary, stream "tokens".
std::vector<int32_t> synthetic_tokens(int64_t vocab_size, int64_t batch, int64_t positions,
                                      uint64_t seed);

}  // namespace assay::golden
