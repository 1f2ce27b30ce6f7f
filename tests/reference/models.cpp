#include "tests/reference/models.h"

#include <cmath>

#include "golden/contract/methods.h"
#include "golden/contract/weights.h"
#include "reference/graph/op.h"
#include "reference/methods/registry.h"
#include "tests/reference/random.h"

namespace assay::reference::testing {

Inputs random_inputs(const ModelConfig& config, int64_t batch, int64_t positions, uint64_t seed,
                     const std::vector<int64_t>& padding) {
  Inputs inputs{batch, positions, {}, {}, {}};
  const std::vector<int32_t> tokens =
      golden::synthetic_tokens(config.vocab_size, batch, positions, seed);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto row = i / static_cast<std::size_t>(positions);
    const auto t = static_cast<int64_t>(i) % positions;
    const bool real = row >= padding.size() || t >= padding[row];
    inputs.tokens.push_back(tokens[i]);
    inputs.attention_mask.push_back(real ? 1 : 0);
    inputs.labels.push_back(real && i % 5 != 4 ? tokens[i] : -100);
  }
  return inputs;
}

Inputs select(const Inputs& inputs, const std::vector<int64_t>& rows, int64_t positions) {
  const Shape shape{inputs.batch, inputs.positions};
  const auto part = [&](const std::vector<double>& values) {
    return slice({shape, values}, "BT", rows, positions).values;
  };
  return {static_cast<int64_t>(rows.size()), positions, part(inputs.tokens),
          part(inputs.attention_mask), part(inputs.labels)};
}

Tensors synthetic_weights(const ModelConfig& config, uint64_t seed) {
  const golden::SyntheticWeights source(config, seed);
  Tensors weights;
  for (const golden::TensorInfo& info : golden::weight_list(config)) {
    Tensor weight{info.shape, {}};
    weight.values.resize(static_cast<std::size_t>(golden::element_count(info.shape)));
    source.read(info.name, weight.values);
    weights[info.name] = std::move(weight);
  }
  return weights;
}

Tensors transparent_weights(ModelConfig config, uint64_t seed) {
  config.params = golden::Params::initial;
  Tensors weights = synthetic_weights(config, seed);
  for (auto& [name, weight] : weights) {
    const bool factor = config.method == "C-base" && name.ends_with("score.w");
    if (!factor && !name.ends_with("gate.w2")) continue;
    std::fill(weight.values.begin(), weight.values.end(), factor ? -1000.0 : 0.0);
  }
  return weights;
}

std::unique_ptr<Graph> hold_detached(const Graph& graph, const Tensors& values, Tensors& weights) {
  auto copy = std::make_unique<Graph>();
  std::vector<Node> nodes;
  for (const NodeData& node : graph.nodes()) {
    std::vector<Node> inputs;
    for (const int input : node.inputs) inputs.push_back(nodes[static_cast<std::size_t>(input)]);
    Node made;
    if (node.weight) {
      made = copy->weight(node.name, node.shape());
    } else if (node.op == nullptr) {
      made = copy->input(node.name, node.shape(), node.result.axes);
    } else if (node.op->name() == "detach") {
      const std::string name = "held/" + std::to_string(nodes.size());
      weights[name] = values.at(graph.node(node.inputs[0]).name);
      made = copy->input(name, node.shape(), node.result.axes);
    } else {
      made = copy->add(node.op, inputs);
      if (!node.name.empty()) made = copy->name(made, node.name);
    }
    nodes.push_back(made);
  }
  return copy;
}

Bindings bind_model(const Inputs& inputs, const Tensors& weights) {
  const Shape shape{inputs.batch, inputs.positions};
  Tensors all = weights;
  all["tokens"] = {shape, inputs.tokens};
  all["attention_mask"] = {shape, inputs.attention_mask};
  all["labels"] = {shape, inputs.labels};
  return [all = std::move(all)](const NodeData& input) {
    const auto found = all.find(input.name);
    return found == all.end() ? Array() : Array::copy_of(found->second.shape, found->second.values);
  };
}

Array Collector::observe(const NodeData& node, Array value) {
  order.push_back(node.name);
  tensors[node.name] = {value.shape(), {value.values().begin(), value.values().end()}};
  const auto found = forced.find(node.name);
  if (found == forced.end()) return value;
  return Array::copy_of(found->second.shape, found->second.values);
}

void GradientCollector::observe_gradient(const NodeData& node, const Array& gradient) {
  gradients[node.name] = {gradient.shape(), {gradient.values().begin(), gradient.values().end()}};
}

Tensors run_model(const ModelConfig& config, const Inputs& inputs, const Tensors& weights) {
  Collector collector;
  evaluate(*build_model(config, inputs.batch, inputs.positions), bind_model(inputs, weights),
           collector);
  return std::move(collector.tensors);
}

ModelConfig ragged_config(const std::string& method, int64_t layers) {
  return {.hidden_size = 10,
          .intermediate_size = 7,
          .num_hidden_layers = layers,
          .num_attention_heads = 6,
          .num_key_value_heads = 3,
          .head_dim = 4,
          .vocab_size = 11,
          .method = method};
}

ModelConfig with_gpt2_block(ModelConfig config, golden::NormPosition norm) {
  config.block = golden::BlockKind::gpt2;
  config.norm = norm;
  config.max_position_embeddings = kMostPositions;
  if (norm == golden::NormPosition::post) config.activation = golden::Activation::gelu;
  return config;
}

ModelConfig with_normed_heads(ModelConfig config) {
  config.qk_norm = true;
  config.attention_bias = golden::AttentionBias::all;
  return config;
}

ModelConfig without_method(ModelConfig config) {
  const ModelConfig defaults;
  config.method = defaults.method;
  config.residual = defaults.residual;
  config.detach_stored = defaults.detach_stored;
  config.form = defaults.form;
  config.score_positions = defaults.score_positions;
  return config;
}

std::vector<ModelConfig> every_method(int64_t layers) {
  std::vector<ModelConfig> configs;
  for (const golden::MethodInfo& method : golden::methods()) {
    if (method.family == golden::Family::prob_transformer) continue;
    ModelConfig config = ragged_config(method.id, layers);
    if (method.takes("score_positions")) config.score_positions = kMostPositions;
    configs.push_back(config);
    for (std::size_t form = 1; form < method.forms.size(); ++form) {
      configs.push_back(config);
      configs.back().form = method.forms[form];
    }
    if (method.takes("residual")) {
      configs.push_back(config);
      configs.back().residual = golden::Residual::replace;
    }
    if (method.takes("detach_stored")) {
      configs.push_back(config);
      configs.back().detach_stored = true;
    }
  }
  const std::vector<ModelConfig> llama = configs;
  for (const ModelConfig& config : llama) {
    if (!config.form.empty()) continue;
    const bool usual = config.residual == golden::Residual::keep && !config.detach_stored;
    if (usual) configs.push_back(with_normed_heads(config));
    configs.push_back(with_gpt2_block(config, golden::NormPosition::pre));
    configs.push_back(with_gpt2_block(config, golden::NormPosition::post));
  }
  return configs;
}

std::string title(const ModelConfig& config) {
  const bool gpt2 = config.block == golden::BlockKind::gpt2;
  const bool post = config.norm == golden::NormPosition::post;
  return std::string(gpt2 ? "GPT-2 block" : "Llama block") + (post ? ", post-norm" : "") +
         (config.qk_norm ? ", norms of q and k, biases" : "") + ", method " + config.method +
         (config.form.empty() ? "" : ", form = " + config.form) +
         (config.residual == golden::Residual::replace ? ", residual = replace" : "") +
         (config.detach_stored ? ", detached" : "");
}

Tensor slice(const Tensor& tensor, const std::string& axes, const std::vector<int64_t>& rows,
             int64_t positions) {
  Tensor part{tensor.shape, {}};
  for (std::size_t axis = 0; axis < axes.size(); ++axis) {
    if (axes[axis] == 'B') part.shape[axis] = static_cast<int64_t>(rows.size());
    if (axes[axis] == 'T' || axes[axis] == 'S') part.shape[axis] = positions;
  }
  for (int64_t i = 0; i < golden::element_count(part.shape); ++i) {
    int64_t from = 0, stride = 1, rest = i;
    for (std::size_t axis = axes.size(); axis-- > 0;) {
      const int64_t index = rest % part.shape[axis];
      rest /= part.shape[axis];
      from += stride * (axes[axis] == 'B' ? rows[static_cast<std::size_t>(index)] : index);
      stride *= tensor.shape[axis];
    }
    part.values.push_back(tensor.values[static_cast<std::size_t>(from)]);
  }
  return part;
}

}  // namespace assay::reference::testing
