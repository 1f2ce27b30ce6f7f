#include "cuda_impl/engine/gradients.h"

#include "cuda_impl/engine/convert.h"
#include "golden/error.h"
#include "golden/names.h"

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
  const auto affine = [&](int64_t M, int64_t K) {
    AffineGradient<A> a;
    a.weight = carver.view<A>({M, K});
    if (!llama) a.bias = carver.view<A>({M});
    return a;
  };
  const std::size_t before = carver.used();
  g = {};
  g.embed = carver.view<A>({V, D});
  g.first = g.embed.data;
  if (!llama) g.positions = carver.view<A>({c.max_position_embeddings, D});
  for (int64_t l = 0; l < c.num_hidden_layers; ++l) {
    LayerGradients<A> layer{.attn_norm = norm(),
                            .mlp_norm = norm(),
                            .wq = affine(HDh, D),
                            .wk = affine(KDh, D),
                            .wv = affine(KDh, D),
                            .wo = affine(D, HDh),
                            .w_gate = {},
                            .w_up = affine(F, D),
                            .w_down = affine(D, F),
                            .coefficients = {},
                            .gate = {},
                            .mix = {}};
    if (llama) layer.w_gate = affine(F, D);
    if (method.gated_scores) {
      const int64_t m = l + 1, outputs = c.method == "D-base" ? 1 : m;
      layer.gate = {.norm = carver.view<A>({D}),
                    .bias = carver.view<A>({outputs}),
                    .w1 = carver.view<A>({m, D}),
                    .w2 = carver.view<A>({outputs, m})};
    } else if (method.learns_scores()) {
      layer.coefficients = carver.view<A>({coefficient_count(c, l)});
    }
    if (method.combine == Combine::learned_mean) layer.mix = carver.view<A>({l + 1});
    g.layers.push_back(layer);
  }
  if (c.norm == golden::NormPosition::pre) g.final_norm = norm();
  g.lm_head = c.tie_word_embeddings ? g.embed : carver.view<A>({V, D});
  g.bytes = carver.used() - before;
}

namespace {

// Reads gradients out of device memory and names them.
template <class A>
class Reader {
 public:
  Reader(const golden::ModelConfig& config, Stream stream, const ReceiveGradient& receive)
      : config_(config), stream_(stream), receive_(receive) {}

  template <int R>
  std::vector<double> values(const View<A, R>& view) const {
    int64_t count = 1;
    for (const int64_t extent : view.shape) count *= extent;
    std::vector<A> stored(static_cast<std::size_t>(count));
    simt::copy_out(stored.data(), view.data, stored.size() * sizeof(A), stream_);
    return {stored.begin(), stored.end()};
  }

  template <int R>
  void give(const std::string& name, const View<A, R>& view) const {
    give(name, golden::Shape(view.shape.begin(), view.shape.end()), values(view));
  }
  void give(const std::string& name, golden::Shape shape, std::vector<double> values) const {
    receive_(name, {std::move(shape), values});
  }

  void norm(const std::string& name, const NormGradient<A>& g) const {
    give(name + ".weight", g.gain);
    if (g.bias.data != nullptr) give(name + ".bias", g.bias);
  }

  // GPT-2's layout: the transposed weights [K, M_0 + M_1 + ..] side by side, and their biases.
  void side_by_side(const std::string& name, const std::vector<AffineGradient<A>>& parts) const {
    const int64_t K = parts[0].weight.shape[1];
    int64_t columns = 0;
    for (const AffineGradient<A>& part : parts) columns += part.weight.shape[0];
    std::vector<double> weight(static_cast<std::size_t>(K * columns)), bias;
    int64_t first = 0;
    for (const AffineGradient<A>& part : parts) {
      const std::vector<double> rows = values(part.weight), own = values(part.bias);
      const int64_t M = part.weight.shape[0];
      for (int64_t m = 0; m < M; ++m) {
        for (int64_t k = 0; k < K; ++k) {
          weight[static_cast<std::size_t>(k * columns + first + m)] =
              rows[static_cast<std::size_t>(m * K + k)];
        }
      }
      bias.insert(bias.end(), own.begin(), own.end());
      first += M;
    }
    give(name + ".weight", {K, columns}, std::move(weight));
    give(name + ".bias", {columns}, std::move(bias));
  }

  void llama_layer(int64_t l, const LayerGradients<A>& g) const {
    const auto name = [&](const char* weight) { return golden::layer_weight(config_, l, weight); };
    give(name("self_attn.q_proj.weight"), g.wq.weight);
    give(name("self_attn.k_proj.weight"), g.wk.weight);
    give(name("self_attn.v_proj.weight"), g.wv.weight);
    give(name("self_attn.o_proj.weight"), g.wo.weight);
    give(name("mlp.gate_proj.weight"), g.w_gate.weight);
    give(name("mlp.up_proj.weight"), g.w_up.weight);
    give(name("mlp.down_proj.weight"), g.w_down.weight);
    norm(name("input_layernorm"), g.attn_norm);
    norm(name("post_attention_layernorm"), g.mlp_norm);
  }

  void gpt2_layer(int64_t l, const LayerGradients<A>& g) const {
    const auto name = [&](const char* weight) { return golden::layer_weight(config_, l, weight); };
    norm(name("ln_1"), g.attn_norm);
    side_by_side(name("attn.c_attn"), {g.wq, g.wk, g.wv});
    side_by_side(name("attn.c_proj"), {g.wo});
    norm(name("ln_2"), g.mlp_norm);
    side_by_side(name("mlp.c_fc"), {g.w_up});
    side_by_side(name("mlp.c_proj"), {g.w_down});
  }

 private:
  const golden::ModelConfig& config_;
  Stream stream_;
  const ReceiveGradient& receive_;
};

}  // namespace

template <class S>
void read_out(const WeightGradients<accum_t<S>>& g, const golden::ModelConfig& config,
              const Mix<S>& mix, const ScoreCoefficients<S>& coefficients, Stream stream,
              const ReceiveGradient& receive) {
  const Reader<accum_t<S>> reader(config, stream, receive);
  const bool llama = config.block == golden::BlockKind::llama;
  reader.give(llama ? "model.embed_tokens.weight" : "transformer.wte.weight", g.embed);
  if (!llama) reader.give("transformer.wpe.weight", g.positions);
  for (int64_t l = 0; l < config.num_hidden_layers; ++l) {
    const LayerGradients<accum_t<S>>& layer = g.layers[static_cast<std::size_t>(l)];
    llama ? reader.llama_layer(l, layer) : reader.gpt2_layer(l, layer);
    std::map<std::string, std::vector<double>> learned;
    if (layer.gate.norm.data != nullptr) {
      learned["self_attn.score.gate.norm"] = reader.values(layer.gate.norm);
      learned["self_attn.score.gate.bias"] = reader.values(layer.gate.bias);
      learned["self_attn.score.gate.w1"] = reader.values(layer.gate.w1);
      learned["self_attn.score.gate.w2"] = reader.values(layer.gate.w2);
    }
    if (layer.coefficients.data != nullptr) {
      for (auto& [name, values] :
           coefficients.parameter_gradients(l, reader.values(layer.coefficients))) {
        learned["self_attn.score." + name] = std::move(values);
      }
    }
    if (layer.mix.data != nullptr && l > 0) {
      learned["mix.weight"] = mix.theta_gradient(l, reader.values(layer.mix));
    }
    for (const golden::LearnedWeight& weight : golden::learned_weights(config, l)) {
      reader.give(weight.info.name, weight.info.shape,
                  std::move(learned.at(weight.parameter.suffix)));
    }
  }
  if (config.norm == golden::NormPosition::pre) {
    reader.norm(llama ? "model.norm" : "transformer.ln_f", g.final_norm);
  }
  if (!config.tie_word_embeddings) reader.give("lm_head.weight", g.lm_head);
}

template void carve(WeightGradients<float>&, Carver&, const golden::ModelConfig&, const Method&);
template void carve(WeightGradients<double>&, Carver&, const golden::ModelConfig&, const Method&);
#define ASSAY_INSTANTIATE(S)                                                                \
  template void read_out<S>(const WeightGradients<accum_t<S>>&, const golden::ModelConfig&, \
                            const Mix<S>&, const ScoreCoefficients<S>&, Stream,             \
                            const ReceiveGradient&);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
