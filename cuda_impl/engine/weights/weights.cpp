#include "cuda_impl/engine/weights/weights.h"

#include <fmt/format.h>

#include "cuda_impl/engine/interface/method.h"
#include "cuda_impl/engine/memory/convert.h"
#include "golden/contract/error.h"
#include "golden/contract/names.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr std::size_t kAlignment = 128;  // scalars: every weight starts at 256 bytes

std::size_t aligned(std::size_t scalars) {
  return (scalars + kAlignment - 1) / kAlignment * kAlignment;
}

// An upper bound: GPT-2's c_attn becomes three weights and three biases.
std::size_t scalars_of(const golden::ModelConfig& config) {
  std::size_t count = 0;
  for (const golden::TensorInfo& weight : golden::weight_list(config)) {
    count +=
        aligned(static_cast<std::size_t>(golden::element_count(weight.shape))) + 2 * kAlignment;
  }
  return count;
}

}  // namespace

template <class S>
Weights<S>::Weights(const golden::ModelConfig& c, const golden::WeightSource& source)
    : source_(&source), memory_(scalars_of(c)) {
  if (c.block == golden::BlockKind::gpt2) {
    load_gpt2(c);
  } else {
    load_llama(c);
  }
  lm_head = c.tie_word_embeddings ? embed : matrix("lm_head.weight", c.vocab_size, c.hidden_size);
  source_ = nullptr;
}

template <class S>
void Weights<S>::load_llama(const golden::ModelConfig& c) {
  const int64_t D = c.hidden_size, F = c.intermediate_size;
  const int64_t HDh = c.num_attention_heads * c.head_dim, KDh = c.num_key_value_heads * c.head_dim;
  embed = matrix("model.embed_tokens.weight", c.vocab_size, D);
  for (int64_t l = 0; l < c.num_hidden_layers; ++l) {
    const auto name = [&](const char* weight) {
      return golden::layer_weight(c, l, weight) + ".weight";
    };
    const auto gemm = [&](const char* weight, int64_t M, int64_t K, bool biased = false) {
      Affine<S> by{matrix(name(weight), M, K), {}};
      if (biased) by.bias = vector(golden::layer_weight(c, l, weight) + ".bias", M);
      return by;
    };
    const auto head_norm = [&](const char* weight) {
      return c.qk_norm ? Norm<S>{vector(name(weight), c.head_dim), {}} : Norm<S>{};
    };
    const bool biased = c.attention_bias != golden::AttentionBias::none;
    layers.push_back(
        {.attn_norm = {vector(name("input_layernorm"), D), {}},
         .mlp_norm = {vector(name("post_attention_layernorm"), D), {}},
         .wq = gemm("self_attn.q_proj", HDh, D, biased),
         .wk = gemm("self_attn.k_proj", KDh, D, biased),
         .wv = gemm("self_attn.v_proj", KDh, D, biased),
         .wo = gemm("self_attn.o_proj", D, HDh, c.attention_bias == golden::AttentionBias::all),
         .q_norm = head_norm("self_attn.q_norm"),
         .k_norm = head_norm("self_attn.k_norm"),
         .w_gate = gemm("mlp.gate_proj", F, D),
         .w_up = gemm("mlp.up_proj", F, D),
         .w_down = gemm("mlp.down_proj", D, F),
         .gate = load_gate(c, l)});
  }
  final_norm.gain = vector("model.norm.weight", D);
}

template <class S>
void Weights<S>::load_gpt2(const golden::ModelConfig& c) {
  const int64_t D = c.hidden_size, F = c.intermediate_size;
  const int64_t HDh = c.num_attention_heads * c.head_dim, KDh = c.num_key_value_heads * c.head_dim;
  const auto norm = [&](const std::string& name) {
    return Norm<S>{vector(name + ".weight", D), vector(name + ".bias", D)};
  };
  embed = matrix("transformer.wte.weight", c.vocab_size, D);
  positions = matrix("transformer.wpe.weight", c.max_position_embeddings, D);
  for (int64_t l = 0; l < c.num_hidden_layers; ++l) {
    const auto name = [&](const char* weight) { return golden::layer_weight(c, l, weight); };
    const auto qkv = [&](int64_t first, int64_t M) {
      return transposed(name("attn.c_attn"), D, HDh + 2 * KDh, first, M);
    };
    layers.push_back({.attn_norm = norm(name("ln_1")),
                      .mlp_norm = norm(name("ln_2")),
                      .wq = qkv(0, HDh),
                      .wk = qkv(HDh, KDh),
                      .wv = qkv(HDh + KDh, KDh),
                      .wo = transposed(name("attn.c_proj"), HDh, D, 0, D),
                      .q_norm = {},
                      .k_norm = {},
                      .w_gate = {},
                      .w_up = transposed(name("mlp.c_fc"), D, F, 0, F),
                      .w_down = transposed(name("mlp.c_proj"), F, D, 0, D),
                      .gate = load_gate(c, l)});
  }
  if (c.norm == golden::NormPosition::pre) final_norm = norm("transformer.ln_f");
}

template <class S>
GateWeights<S> Weights<S>::load_gate(const golden::ModelConfig& c, int64_t layer) {
  const Method method = parse_method(c);
  if (!method.gated_scores) return {};
  const auto name = [&](const char* weight) {
    return golden::layer_weight(c, layer, std::string("self_attn.score.gate.") + weight);
  };
  const int64_t features = method.score_terms(layer);  // a factor for each score that is summed
  return {.norm = vector(name("norm"), c.hidden_size),
          .bias = vector(name("bias"), features),
          .w1 = matrix(name("w1"), features, c.hidden_size),
          .w2 = matrix(name("w2"), features, features)};
}

template <class S>
std::vector<double> Weights<S>::read(const std::string& name, int64_t count) const {
  std::vector<double> values(static_cast<std::size_t>(count));
  source_->read(name, values);
  return values;
}

template <class S>
View<const S, 1> Weights<S>::vector(const std::string& name, int64_t n) {
  return {upload(read(name, n)), {n}};
}

template <class S>
View<const S, 2> Weights<S>::matrix(const std::string& name, int64_t M, int64_t K) {
  return {upload(read(name, M * K)), {M, K}};
}

template <class S>
Affine<S> Weights<S>::transposed(const std::string& name, int64_t K, int64_t columns, int64_t first,
                                 int64_t M) {
  const std::vector<double> weight = read(name + ".weight", K * columns);
  const std::vector<double> bias = read(name + ".bias", columns);
  std::vector<double> rows;  // [M,K]
  rows.reserve(static_cast<std::size_t>(M * K));
  for (int64_t m = first; m < first + M; ++m) {
    for (int64_t k = 0; k < K; ++k) {
      rows.push_back(weight[static_cast<std::size_t>(k * columns + m)]);
    }
  }
  const auto own =
      std::span(bias).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(M));
  return {{upload(rows), {M, K}}, {upload(own), {M}}};
}

template <class S>
S* Weights<S>::upload(std::span<const double> values) {
  ASSAY_CHECK(used_ + values.size() <= memory_.size(),
              fmt::format("{} + {} of {}", used_, values.size(), memory_.size()));
  std::vector<S> stored;
  stored.reserve(values.size());
  for (const double value : values) stored.push_back(narrow<S>(value));
  S* target = memory_.get() + used_;
  simt::copy_in(target, stored.data(), stored.size() * sizeof(S));
  used_ += aligned(values.size());
  return target;
}

#define ASSAY_INSTANTIATE(S) template class Weights<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
