// Small models of every method on every block, and batches for them.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "cuda_impl/engine/interface/model.h"
#include "golden/contract/config.h"
#include "golden/contract/methods.h"
#include "golden/contract/weights.h"

namespace assay::engine_test {

inline constexpr golden::Precision kPrecisions[] = {
    golden::Precision::fp64, golden::Precision::fp32, golden::Precision::tf32,
    golden::Precision::bf16, golden::Precision::fp16};

// All of a list; every third under ASan, which is after accesses and not after numbers: what the
// others run is what these run, in other combinations. ASSAY_TEST_ALL=1: all there too.
template <class T>
std::vector<T> sampled(std::vector<T> all) {
#if defined(__SANITIZE_ADDRESS__)
  if (std::getenv("ASSAY_TEST_ALL") == nullptr && all.size() > 3) {
    std::vector<T> some;
    for (std::size_t i = 1; i < all.size(); i += 3) some.push_back(all[i]);
    return some;
  }
#endif
  return all;
}

inline golden::ModelConfig tiny(const std::string& method, int64_t layers = 3) {
  golden::ModelConfig c;
  c.hidden_size = 16;
  c.intermediate_size = 24;
  c.num_hidden_layers = layers;
  c.num_attention_heads = 4;
  c.num_key_value_heads = 2;
  c.head_dim = 6;  // H*Dh = 24 is not D
  c.vocab_size = 11;
  c.max_position_embeddings = 64;
  c.method = method;
  return c;
}

// The same with the GPT-2 block.
inline golden::ModelConfig tiny_gpt2(const std::string& method, golden::NormPosition norm,
                                     int64_t layers = 3) {
  golden::ModelConfig c = tiny(method, layers);
  c.block = golden::BlockKind::gpt2;
  c.norm = norm;
  c.tie_word_embeddings = true;
  if (norm == golden::NormPosition::post) c.activation = golden::Activation::gelu;
  return c;
}

// The Llama block with its options: norms of q and k, biases of all projections of attention.
inline golden::ModelConfig tiny_normed(const std::string& method, int64_t layers = 3) {
  golden::ModelConfig c = tiny(method, layers);
  c.qk_norm = true;
  c.attention_bias = golden::AttentionBias::all;
  return c;
}

// Methods that use every part of the engine between them.
inline bool is_typical(const std::string& method) {
  const std::vector<std::string> typical{"plain", "1",   "2",    "3.2",  "4.2",
                                         "5.1",   "5.5", "5.1A", "5.1D", "D-base"};
  return std::find(typical.begin(), typical.end(), method) != typical.end();
}

// Every method of the blocks on every one of them; typical ones with the Llama block's options too.
inline std::vector<golden::ModelConfig> models(int64_t layers = 3) {
  std::vector<golden::ModelConfig> all;
  for (const golden::MethodInfo& method : golden::methods()) {
    if (method.family == golden::Family::prob_transformer) continue;
    all.push_back(tiny(method.id, layers));
    if (is_typical(method.id)) all.push_back(tiny_normed(method.id, layers));
    all.push_back(tiny_gpt2(method.id, golden::NormPosition::pre, layers));
    all.push_back(tiny_gpt2(method.id, golden::NormPosition::post, layers));
  }
  return all;
}

// Method pt: every way in which an update, a message or what is read looks at words, rounds and
// groups.
inline std::vector<golden::ModelConfig> prob_transformers() {
  using PT = golden::ProbTransformer;
  const std::vector<int64_t> near_and_far{2, 4};
  const auto head = PT::Message::head;
  const auto sync = PT::Schedule::sync;
  const auto in_turn = PT::Updates::in_turn;
  std::vector<golden::ModelConfig> all;
  for (const PT& pt : std::vector<PT>{
           {.message = head, .causal_heads = true, .output = PT::Output::causal},
           {.message = PT::Message::symmetric,
           .distances = near_and_far,
           .causal_heads = true,
           .output = PT::Output::causal,
           .read = PT::Read::labels},
           {.message = head, .schedule = sync, .causal_heads = true},
           {.message = head,
           .schedule = sync,
           .lambda_z = 0.8,
           .head_step = 0.6,
           .label_step = 0.7,
           .head_damping = 0.3,
           .label_damping = 0.4,
           .causal_heads = true},
           {.message = head, .head_step = 0.6, .causal_heads = true, .head_groups = 2},
           {.iterations = 4,
           .message = head,
           .head_step = 0.6,
           .head_damping = 0.3,
           .distances = near_and_far,
           .causal_heads = true,
           .head_groups = 3,
           .updates = in_turn},
           {.message = head,
           .distances = std::vector<int64_t>{2},
           .causal_heads = true,
           .label_groups = 2,
           .read = PT::Read::labels},
           {.message = PT::Message::full},
           {.message = PT::Message::full,
           .head_step = 0.6,
           .head_damping = 0.3,
           .distances = near_and_far,
           .label_groups = 2},
       }) {
    all.push_back(tiny("pt"));
    all.back().pt = pt;
  }
  all.push_back(all.front());
  all.back().tie_word_embeddings = true;
  return all;
}

// Whether the method runs earlier layers again.
inline bool recomputes(const golden::ModelConfig& config) {
  const golden::Family family = golden::find_method(config.method).family;
  return family == golden::Family::recompute_mlp || family == golden::Family::recompute_attn;
}

// Windows below a tile of keys, with and without sinks, of methods that see in different ways.
inline std::vector<golden::ModelConfig> windowed_models() {
  std::vector<golden::ModelConfig> all;
  for (const char* method : {"plain", "1", "2", "4.2", "5.1", "5.1E"}) {
    all.push_back(tiny(method));
    all.back().window = 5;
    all.push_back(tiny_gpt2(method, golden::NormPosition::pre));
    all.back().window = 3;
    all.back().sink_tokens = 2;
    all.push_back(tiny_normed(method));
    all.back().attention_bias = golden::AttentionBias::qkv;
    all.back().window = 4;
    all.back().full_layers = {1};
  }
  return all;
}

// The same of dynamic ones.
inline std::vector<golden::ModelConfig> dynamic_models() {
  std::vector<golden::ModelConfig> all = windowed_models();
  for (golden::ModelConfig& config : all) {
    config.window += 6;
    config.window_kind = golden::WindowKind::dynamic;
    config.window_min = 2;
  }
  return all;
}

inline std::string text_of(const golden::ModelConfig& c) {
  return "method " + c.method + " on " + golden::block_name(c.block) +
         (c.qk_norm ? " with normed heads" : "") +
         (c.norm == golden::NormPosition::pre ? " pre" : " post") + " " +
         golden::window_kind_name(c.window_kind) + " window " + std::to_string(c.window) +
         (c.method == "pt" ? golden::prob_transformer_json(c) : "");
}

// Owns what a Batch points to.
struct Tokens {
  int64_t B, T;
  std::vector<int32_t> tokens;
  std::vector<uint8_t> mask;
  std::vector<int32_t> labels;

  Tokens(int64_t batch, int64_t positions)
      : B(batch),
        T(positions),
        tokens(golden::synthetic_tokens(11, batch, positions, 5)),
        mask(tokens.size(), 1),
        labels(tokens) {
    if (labels.size() > 3) labels[2] = -100;
  }
  cuda::Batch view() const { return {B, T, tokens, mask, labels}; }
};

}  // namespace assay::engine_test
