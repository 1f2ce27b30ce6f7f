#include "cuda_impl/engine/weights/gradients.h"

#include "cuda_impl/engine/weights/read_back.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class A>
void carve(WeightGradients<A>& g, Carver& carver, const golden::ModelConfig& c,
           const Method& method) {
  const int64_t D = c.hidden_size, F = c.intermediate_size, V = c.vocab_size;
  const int64_t HDh = c.num_attention_heads * c.head_dim, KDh = c.num_key_value_heads * c.head_dim;
  const bool llama = c.block == golden::BlockKind::llama;
  const auto norm = [&] {
    NormGradient<A> n;
    n.gain = carver.view<A>({D});
    if (!llama) n.bias = carver.view<A>({D});
    return n;
  };
  const auto affine = [&](int64_t M, int64_t K, bool biased = false) {
    AffineGradient<A> a;
    a.weight = carver.view<A>({M, K});
    if (!llama || biased) a.bias = carver.view<A>({M});
    return a;
  };
  const bool biased = c.attention_bias != golden::AttentionBias::none;
  const std::size_t before = carver.used();
  g = {};
  g.embed = carver.view<A>({V, D});
  g.first = g.embed.data;
  if (!llama) g.positions = carver.view<A>({c.max_position_embeddings, D});
  for (int64_t l = 0; l < c.num_hidden_layers; ++l) {
    LayerGradients<A> layer{.attn_norm = norm(),
                            .mlp_norm = norm(),
                            .wq = affine(HDh, D, biased),
                            .wk = affine(KDh, D, biased),
                            .wv = affine(KDh, D, biased),
                            .wo = affine(D, HDh, c.attention_bias == golden::AttentionBias::all),
                            .w_gate = {},
                            .w_up = affine(F, D),
                            .w_down = affine(D, F),
                            .q_norm = {},
                            .k_norm = {},
                            .coefficients = {},
                            .gate = {},
                            .mix = {}};
    if (llama) layer.w_gate = affine(F, D);
    for (NormGradient<A>* n : {&layer.q_norm, &layer.k_norm}) {
      if (c.qk_norm) n->gain = carver.view<A>({c.head_dim});
    }
    if (method.gated_scores) {
      const int64_t features = method.score_terms(l);
      layer.gate = {.norm = carver.view<A>({D}),
                    .bias = carver.view<A>({features}),
                    .w1 = carver.view<A>({features, D}),
                    .w2 = carver.view<A>({features, features})};
    } else if (method.learns_scores()) {
      layer.coefficients = carver.view<A>({coefficient_count(c, method, l)});
    }
    g.layers.push_back(layer);
  }
  // Behind all layers, which so lie evenly where they are run again (layer_stride).
  for (int64_t l = 0; method.combine == Combine::learned_mean && l < c.num_hidden_layers; ++l) {
    g.layers[static_cast<std::size_t>(l)].mix = carver.view<A>({l + 1});
  }
  if (c.norm == golden::NormPosition::pre) g.final_norm = norm();
  g.lm_head = c.tie_word_embeddings ? g.embed : carver.view<A>({V, D});
  g.bytes = carver.used() - before;
}

template <class S>
LearnedValues learned_gradients(const LayerGradients<accum_t<S>>& layer, int64_t l,
                                const Mix<S>& mix, const ScoreCoefficients<S>& coefficients,
                                Stream stream) {
  LearnedValues learned;
  if (layer.coefficients.data != nullptr) {
    for (auto& [name, values] :
         coefficients.parameter_gradients(l, read_values(layer.coefficients, stream))) {
      learned["self_attn.score." + name] = std::move(values);
    }
  }
  if (layer.mix.data != nullptr && l > 0) {
    learned["mix.weight"] = mix.theta_gradient(l, read_values(layer.mix, stream));
  }
  return learned;
}

template <class S>
void read_out(const WeightGradients<accum_t<S>>& g, const golden::ModelConfig& config,
              const Mix<S>& mix, const ScoreCoefficients<S>& coefficients, Stream stream,
              const ReceiveGradient& receive) {
  const auto learned = [&](int64_t l) {
    return learned_gradients<S>(g.layers[static_cast<std::size_t>(l)], l, mix, coefficients,
                                stream);
  };
  read_back(g, config, learned, stream, receive);
}

template void carve(WeightGradients<float>&, Carver&, const golden::ModelConfig&, const Method&);
template void carve(WeightGradients<double>&, Carver&, const golden::ModelConfig&, const Method&);
#define ASSAY_INSTANTIATE(S)                                                                       \
  template LearnedValues learned_gradients<S>(const LayerGradients<accum_t<S>>&, int64_t,          \
                                              const Mix<S>&, const ScoreCoefficients<S>&, Stream); \
  template void read_out<S>(const WeightGradients<accum_t<S>>&, const golden::ModelConfig&,        \
                            const Mix<S>&, const ScoreCoefficients<S>&, Stream,                    \
                            const ReceiveGradient&);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
