#include "cuda_impl/engine/weights/read_back.h"

#include "cuda_impl/engine/weights/weights.h"
#include "golden/contract/error.h"
#include "golden/contract/names.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

// Reads arrays out of device memory and names them.
class Reader {
 public:
  Reader(const golden::ModelConfig& config, Stream stream, const ReceiveTensor& receive)
      : config_(config), stream_(stream), receive_(receive) {}

  template <class T, int R>
  std::vector<double> values(const View<T, R>& view) const {
    return read_values(view, stream_);
  }

  template <class T, int R>
  void give(const std::string& name, const View<T, R>& view) const {
    give(name, golden::Shape(view.shape.begin(), view.shape.end()), values(view));
  }
  void give(const std::string& name, golden::Shape shape, std::vector<double> values) const {
    receive_(name, {std::move(shape), values});
  }

  template <class N>
  void norm(const std::string& name, const N& n) const {
    give(name + ".weight", n.gain);
    if (n.bias.data != nullptr) give(name + ".bias", n.bias);
  }

  template <class Part>
  void affine(const std::string& name, const Part& part) const {
    give(name + ".weight", part.weight);
    if (part.bias.data != nullptr) give(name + ".bias", part.bias);
  }

  // GPT-2's layout: the transposed weights [K, M_0 + M_1 + ..] side by side, and their biases.
  template <class Part>
  void side_by_side(const std::string& name, const std::vector<Part>& parts) const {
    const int64_t K = parts[0].weight.shape[1];
    int64_t columns = 0;
    for (const Part& part : parts) columns += part.weight.shape[0];
    std::vector<double> weight(static_cast<std::size_t>(K * columns)), bias;
    int64_t first = 0;
    for (const Part& part : parts) {
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

  template <class Layer>
  void llama_layer(int64_t l, const Layer& w) const {
    const auto name = [&](const char* weight) { return golden::layer_weight(config_, l, weight); };
    affine(name("self_attn.q_proj"), w.wq);
    affine(name("self_attn.k_proj"), w.wk);
    affine(name("self_attn.v_proj"), w.wv);
    affine(name("self_attn.o_proj"), w.wo);
    if (w.q_norm.gain.data != nullptr) norm(name("self_attn.q_norm"), w.q_norm);
    if (w.k_norm.gain.data != nullptr) norm(name("self_attn.k_norm"), w.k_norm);
    give(name("mlp.gate_proj.weight"), w.w_gate.weight);
    give(name("mlp.up_proj.weight"), w.w_up.weight);
    give(name("mlp.down_proj.weight"), w.w_down.weight);
    norm(name("input_layernorm"), w.attn_norm);
    norm(name("post_attention_layernorm"), w.mlp_norm);
  }

  template <class Layer>
  void gpt2_layer(int64_t l, const Layer& w) const {
    const auto name = [&](const char* weight) { return golden::layer_weight(config_, l, weight); };
    norm(name("ln_1"), w.attn_norm);
    side_by_side(name("attn.c_attn"), std::vector{w.wq, w.wk, w.wv});
    side_by_side(name("attn.c_proj"), std::vector{w.wo});
    norm(name("ln_2"), w.mlp_norm);
    side_by_side(name("mlp.c_fc"), std::vector{w.w_up});
    side_by_side(name("mlp.c_proj"), std::vector{w.w_down});
  }

 private:
  const golden::ModelConfig& config_;
  Stream stream_;
  const ReceiveTensor& receive_;
};

}  // namespace

template <class Arrays>
void read_back(const Arrays& arrays, const golden::ModelConfig& config,
               const std::function<LearnedValues(int64_t layer)>& learned_of, Stream stream,
               const ReceiveTensor& receive) {
  const Reader reader(config, stream, receive);
  const bool llama = config.block == golden::BlockKind::llama;
  reader.give(llama ? "model.embed_tokens.weight" : "transformer.wte.weight", arrays.embed);
  if (!llama) reader.give("transformer.wpe.weight", arrays.positions);
  for (int64_t l = 0; l < config.num_hidden_layers; ++l) {
    const auto& layer = arrays.layers[static_cast<std::size_t>(l)];
    llama ? reader.llama_layer(l, layer) : reader.gpt2_layer(l, layer);
    LearnedValues learned = learned_of(l);
    if (layer.gate.norm.data != nullptr) {
      learned["self_attn.score.gate.norm"] = reader.values(layer.gate.norm);
      learned["self_attn.score.gate.bias"] = reader.values(layer.gate.bias);
      learned["self_attn.score.gate.w1"] = reader.values(layer.gate.w1);
      learned["self_attn.score.gate.w2"] = reader.values(layer.gate.w2);
    }
    for (const golden::LearnedWeight& weight : golden::learned_weights(config, l)) {
      reader.give(weight.info.name, weight.info.shape,
                  std::move(learned.at(weight.parameter.suffix)));
    }
  }
  if (config.norm == golden::NormPosition::pre) {
    reader.norm(llama ? "model.norm" : "transformer.ln_f", arrays.final_norm);
  }
  if (!config.tie_word_embeddings) reader.give("lm_head.weight", arrays.lm_head);
}

#define ASSAY_INSTANTIATE(A)                                                     \
  template void read_back(const WeightGradients<A>&, const golden::ModelConfig&, \
                          const std::function<LearnedValues(int64_t)>&, Stream,  \
                          const ReceiveTensor&);                                 \
  template void read_back(const Weights<A>&, const golden::ModelConfig&,         \
                          const std::function<LearnedValues(int64_t)>&, Stream,  \
                          const ReceiveTensor&);
ASSAY_FOR_ACCUMULATORS(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
