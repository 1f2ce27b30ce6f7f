// What every element of the engine's tensors has to depend on, from the specification alone, and
// the comparison with what the kernels show.
#pragma once

#include <string>
#include <vector>

#include "cuda_impl/engine/interface/dependences.h"
#include "golden/contract/methods.h"

namespace assay::dependences {

golden::ModelConfig tiny(const std::string& method, int64_t layers);
golden::ModelConfig tiny_gpt2(const std::string& method, golden::NormPosition norm, int64_t layers);
// Causal heads, both steps and both dampings; 2 rounds, in which every kernel has something to add.
golden::ModelConfig tiny_pt(golden::ProbTransformer::Message message);
std::string text_of(const golden::ModelConfig& config);  // "method 1 on gpt2 post"

// Owns what a Batch points to. The first `padding` positions of row 0 are padding.
struct Tokens {
  int64_t B, T;
  std::vector<int32_t> tokens;
  std::vector<uint8_t> mask;
  std::vector<int32_t> labels;

  Tokens(int64_t batch, int64_t positions, int64_t padding);
  cuda::Batch view() const { return {B, T, tokens, mask, labels}; }
  bool real(int64_t b, int64_t t) const { return mask[static_cast<std::size_t>(b * T + t)] != 0; }
};

struct Result {
  int64_t tensors = 0, elements = 0;
  int64_t dependences = 0;  // pairs of an element and one of its sources
  std::string first_fault;  // "" if every element depends on exactly what it has to
  std::vector<double> logits;
};

// One traced pass. Of pt: causal heads and the schedule async, else InputError. The first fault in
// order of computation, lowest element, lowest source:
//   layers/0/attn/context at (b0,t0,d0) sees (b0,s1): the future
//   layers/1/attn/q at (b1,h0,t4,d0) does not see (b1,s2)
Result judge(const golden::ModelConfig& config, const Tokens& tokens,
             const cuda::ModelOptions& options = {});
// Judged by what a model of another config has to depend on.
Result judge(const golden::ModelConfig& config, const golden::ModelConfig& expected,
             const Tokens& tokens, const cuda::ModelOptions& options = {});

}  // namespace assay::dependences
