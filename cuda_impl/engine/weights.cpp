#include "cuda_impl/engine/weights.h"

#include <fmt/format.h>

#include "cuda_impl/engine/convert.h"
#include "golden/error.h"
#include "golden/names.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

std::size_t scalars_of(const golden::ModelConfig& config) {
  int64_t count = 0;
  for (const golden::TensorInfo& weight : golden::weight_list(config)) {
    count += golden::element_count(weight.shape);
  }
  return static_cast<std::size_t>(count);
}

}  // namespace

template <class S>
Weights<S>::Weights(const golden::ModelConfig& c, const golden::WeightSource& source)
    : source_(&source), memory_(scalars_of(c)) {
  const int64_t D = c.hidden_size, F = c.intermediate_size, V = c.vocab_size;
  const int64_t HDh = c.num_attention_heads * c.head_dim, KDh = c.num_key_value_heads * c.head_dim;
  const auto vector = [&](const std::string& name, int64_t n) {
    return View<const S, 1>{upload(name, n), {n}};
  };
  const auto matrix = [&](const std::string& name, int64_t m, int64_t n) {
    return View<const S, 2>{upload(name, m * n), {m, n}};
  };

  embed = matrix("model.embed_tokens.weight", V, D);
  for (int64_t l = 0; l < c.num_hidden_layers; ++l) {
    const auto name = [l](const char* weight) {
      return fmt::format("model.layers.{}.{}.weight", l, weight);
    };
    layers.push_back({.attn_norm = vector(name("input_layernorm"), D),
                      .mlp_norm = vector(name("post_attention_layernorm"), D),
                      .wq = matrix(name("self_attn.q_proj"), HDh, D),
                      .wk = matrix(name("self_attn.k_proj"), KDh, D),
                      .wv = matrix(name("self_attn.v_proj"), KDh, D),
                      .wo = matrix(name("self_attn.o_proj"), D, HDh),
                      .w_gate = matrix(name("mlp.gate_proj"), F, D),
                      .w_up = matrix(name("mlp.up_proj"), F, D),
                      .w_down = matrix(name("mlp.down_proj"), D, F)});
  }
  final_norm = vector("model.norm.weight", D);
  lm_head = c.tie_word_embeddings ? embed : matrix("lm_head.weight", V, D);
  ASSAY_CHECK(used_ == memory_.size(), fmt::format("{} of {}", used_, memory_.size()));
  source_ = nullptr;
}

template <class S>
S* Weights<S>::upload(const std::string& name, int64_t count) {
  const auto size = static_cast<std::size_t>(count);
  ASSAY_CHECK(used_ + size <= memory_.size(), fmt::format("{}: {} + {}", name, used_, size));
  std::vector<double> values(size);
  source_->read(name, values);
  std::vector<S> stored(size);
  for (std::size_t i = 0; i < size; ++i) stored[i] = narrow<S>(values[i]);
  S* target = memory_.get() + used_;
  simt::copy_in(target, stored.data(), size * sizeof(S));
  used_ += size;
  return target;
}

template class Weights<float>;
template class Weights<simt::bf16>;
template class Weights<double>;

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
