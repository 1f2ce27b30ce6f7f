#include "golden/contract/names.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <tuple>

#include "golden/contract/error.h"

namespace assay::golden {
namespace {

// Appends the tensors of one config in the order in which they are computed.
class Lister {
 public:
  Lister(const ModelConfig& config, int64_t batch, int64_t positions)
      : c_(config),
        family_(find_method(config.method).family),
        pre_(config.norm == NormPosition::pre),
        b_(batch),
        t_(positions) {}

  std::vector<TensorInfo> list() {
    add("embed", {b_, t_, c_.hidden_size}, "BTD");
    for (int64_t l = 0; l < c_.num_hidden_layers; ++l) layer(l);
    if (pre_) add("final_norm", {b_, t_, c_.hidden_size}, "BTD");
    add("logits", {b_, t_, c_.vocab_size}, "BTD");
    add("loss", {}, "");
    return std::move(tensors_);
  }

 private:
  void layer(int64_t l) {
    const int64_t heads = c_.num_attention_heads, kv = c_.num_key_value_heads, dh = c_.head_dim;
    const auto in_layer = [&](const char* tensor) { return layer_name(l, tensor); };
    add(in_layer("input"), {b_, t_, c_.hidden_size}, "BTD");
    if (pre_) add(in_layer("attn_norm"), {b_, t_, c_.hidden_size}, "BTD");
    for (const auto& [tensor, count, axes] :
         {std::tuple{"attn/q", heads, "BHTD"}, {"attn/k", kv, "BGTD"}}) {
      for (const char* stage : {"_proj", "_norm", ""}) {
        if (*stage != 0 && !c_.qk_norm) continue;
        add(layer_name(l, std::string(tensor) + stage), {b_, count, t_, dh}, axes);
      }
    }
    add(in_layer("attn/v"), {b_, kv, t_, dh}, "BGTD");
    if (has_dynamic_window(c_, l)) add(in_layer("attn/window"), {b_, t_}, "BT");
    add(in_layer("attn/scores"), {b_, heads, t_, t_}, "BHTS");
    add(in_layer("attn/probs"), {b_, heads, t_, t_}, "BHTS");
    add(in_layer("attn/context"), {b_, t_, heads * dh}, "BTD");
    add(in_layer("attn/out"), {b_, t_, c_.hidden_size}, "BTD");
    if (family_ == Family::recompute_attn && l > 0) recompute(l, "attn/sum");
    add(in_layer("attn_residual"), {b_, t_, c_.hidden_size}, "BTD");
    add(in_layer(mlp_input()), {b_, t_, c_.hidden_size}, "BTD");
    if (c_.block == BlockKind::llama)
      add(in_layer("mlp/gate"), {b_, t_, c_.intermediate_size}, "BTD");
    add(in_layer("mlp/up"), {b_, t_, c_.intermediate_size}, "BTD");
    add(in_layer("mlp/act"), {b_, t_, c_.intermediate_size}, "BTD");
    add(in_layer("mlp/out"), {b_, t_, c_.hidden_size}, "BTD");
    if (family_ == Family::recompute_mlp && l > 0) recompute(l, "mlp/sum");
    if (!pre_) add(in_layer("mlp_residual"), {b_, t_, c_.hidden_size}, "BTD");
    add(in_layer("output"), {b_, t_, c_.hidden_size}, "BTD");
  }

  // Earlier layers run again in layer l, up to where the method takes their output.
  void recompute(int64_t l, const char* sum) {
    for (int64_t j = 0; j < l; ++j) {
      const auto again = [&](const char* tensor) { return recompute_name(l, j, tensor); };
      if (pre_) add(again("attn_norm"), {b_, t_, c_.hidden_size}, "BTD");
      add(again("v"), {b_, c_.num_key_value_heads, t_, c_.head_dim}, "BGTD");
      add(again("context"), {b_, t_, c_.num_attention_heads * c_.head_dim}, "BTD");
      add(again("attn_out"), {b_, t_, c_.hidden_size}, "BTD");
      if (family_ == Family::recompute_attn) continue;
      add(again(mlp_input()), {b_, t_, c_.hidden_size}, "BTD");
      add(again("mlp_act"), {b_, t_, c_.intermediate_size}, "BTD");
      add(again("mlp_out"), {b_, t_, c_.hidden_size}, "BTD");
    }
    add(layer_name(l, sum), {b_, t_, c_.hidden_size}, "BTD");
  }

  // The norm whose result the MLP reads.
  const char* mlp_input() const { return pre_ ? "mlp_norm" : "attn_norm"; }

  void add(std::string name, Shape shape, std::string axes) {
    tensors_.push_back({std::move(name), std::move(shape), std::move(axes)});
  }

  const ModelConfig& c_;
  Family family_;
  bool pre_;
  int64_t b_, t_;
  std::vector<TensorInfo> tensors_;
};

int64_t extent_of(char axis, const ModelConfig& c, int64_t layer) {
  switch (axis) {
    case 'm':
      return layer + 1;
    case 'P':
      return score_positions_of(c);
    case 'D':
      return c.hidden_size;
    default:
      ASSAY_CHECK(axis == '1', std::string(1, axis));
      return 1;
  }
}

using NamedShapes = std::vector<std::pair<std::string, Shape>>;

// The weights of a layer below its prefix, in the order of a state dict.
NamedShapes llama_layer(const ModelConfig& c) {
  const int64_t d = c.hidden_size, f = c.intermediate_size;
  const int64_t q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
  NamedShapes weights;
  const auto projection = [&](const char* name, int64_t outputs, int64_t inputs, bool biased) {
    weights.push_back({fmt::format("self_attn.{}.weight", name), {outputs, inputs}});
    if (biased) weights.push_back({fmt::format("self_attn.{}.bias", name), {outputs}});
  };
  const bool biased = c.attention_bias != AttentionBias::none;
  projection("q_proj", q, d, biased);
  projection("k_proj", kv, d, biased);
  projection("v_proj", kv, d, biased);
  projection("o_proj", d, q, c.attention_bias == AttentionBias::all);
  for (const char* name : {"self_attn.q_norm.weight", "self_attn.k_norm.weight"}) {
    if (c.qk_norm) weights.push_back({name, {c.head_dim}});
  }
  const NamedShapes rest{{"mlp.gate_proj.weight", {f, d}},
                         {"mlp.up_proj.weight", {f, d}},
                         {"mlp.down_proj.weight", {d, f}},
                         {"input_layernorm.weight", {d}},
                         {"post_attention_layernorm.weight", {d}}};
  weights.insert(weights.end(), rest.begin(), rest.end());
  return weights;
}

NamedShapes gpt2_layer(const ModelConfig& c) {
  const int64_t d = c.hidden_size, f = c.intermediate_size;
  const int64_t q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
  return {{"ln_1.weight", {d}},
          {"ln_1.bias", {d}},
          {"attn.c_attn.weight", {d, q + 2 * kv}},
          {"attn.c_attn.bias", {q + 2 * kv}},
          {"attn.c_proj.weight", {q, d}},
          {"attn.c_proj.bias", {d}},
          {"ln_2.weight", {d}},
          {"ln_2.bias", {d}},
          {"mlp.c_fc.weight", {d, f}},
          {"mlp.c_fc.bias", {f}},
          {"mlp.c_proj.weight", {f, d}},
          {"mlp.c_proj.bias", {d}}};
}

// The same list; throws for sizes that cannot be.
std::vector<TensorInfo> of_possible_size(std::vector<TensorInfo> tensors) {
  int64_t total = 0;
  for (const TensorInfo& t : tensors) {
    try {
      total += element_count(t.shape);
    } catch (const InputError& error) {
      throw InputError(fmt::format("{}: {}", t.name, error.what()));
    }
    if (total > kMostElements) {
      throw InputError(fmt::format("tensors up to {}: expected at most {} = 2^40 elements, got {}",
                                   t.name, kMostElements, total));
    }
  }
  return tensors;
}

}  // namespace

std::string layer_name(int64_t layer, const std::string& tensor) {
  return fmt::format("layers/{}/{}", layer, tensor);
}

std::string recompute_name(int64_t layer, int64_t earlier, const std::string& tensor) {
  return fmt::format("layers/{}/recompute/{}/{}", layer, earlier, tensor);
}

bool is_recomputed(const std::string& tensor_name) {
  return tensor_name.find("/recompute/") != std::string::npos;
}

std::string layer_weight(const ModelConfig& config, int64_t layer, const std::string& name) {
  return fmt::format("{}.{}.{}", config.block == BlockKind::gpt2 ? "transformer.h" : "model.layers",
                     layer, name);
}

std::vector<TensorInfo> tensor_list(const ModelConfig& config, int64_t batch, int64_t positions) {
  if (find_method(config.method).takes("score_positions") &&
      positions > score_positions_of(config)) {
    throw InputError(fmt::format(
        "method {}: its parameters are for {} positions: expected T <= {}, got {}; raise "
        "score_positions",
        config.method, score_positions_of(config), score_positions_of(config), positions));
  }
  if (find_method(config.method).family == Family::prob_transformer) {
    return of_possible_size(prob_transformer_tensors(config, batch, positions));
  }
  if (config.block == BlockKind::gpt2 && positions > config.max_position_embeddings) {
    throw InputError(
        fmt::format("tokens: the model has learned {} positions: expected T <= {}, got {}",
                    config.max_position_embeddings, config.max_position_embeddings, positions));
  }
  return of_possible_size(Lister(config, batch, positions).list());
}

std::vector<TensorInfo> weight_list(const ModelConfig& c) {
  if (find_method(c.method).family == Family::prob_transformer) {
    return of_possible_size(prob_transformer_weights(c));
  }
  std::vector<TensorInfo> weights;
  const auto add = [&](std::string name, Shape shape) {
    std::string axes(shape.size(), 'D');
    weights.push_back({std::move(name), std::move(shape), std::move(axes)});
  };
  const bool gpt2 = c.block == BlockKind::gpt2;
  if (gpt2) {
    add("transformer.wte.weight", {c.vocab_size, c.hidden_size});
    add("transformer.wpe.weight", {c.max_position_embeddings, c.hidden_size});
  } else {
    add("model.embed_tokens.weight", {c.vocab_size, c.hidden_size});
  }
  for (int64_t l = 0; l < c.num_hidden_layers; ++l) {
    for (const auto& [name, shape] : gpt2 ? gpt2_layer(c) : llama_layer(c)) {
      add(layer_weight(c, l, name), shape);
    }
    for (LearnedWeight& learned : learned_weights(c, l)) weights.push_back(std::move(learned.info));
  }
  if (!gpt2) {
    add("model.norm.weight", {c.hidden_size});
  } else if (c.norm == NormPosition::pre) {
    add("transformer.ln_f.weight", {c.hidden_size});
    add("transformer.ln_f.bias", {c.hidden_size});
  }
  if (!c.tie_word_embeddings) add("lm_head.weight", {c.vocab_size, c.hidden_size});
  return of_possible_size(std::move(weights));
}

void check_sizes(const ModelConfig& config, int64_t batch, int64_t positions) {
  if (batch < 1 || positions < 1) {
    throw InputError(fmt::format("tokens [{},{}]: expected at least one row and one position",
                                 batch, positions));
  }
  element_count({batch, positions});
  tensor_list(config, batch, positions);
  weight_list(config);
}

std::vector<LearnedWeight> learned_weights(const ModelConfig& c, int64_t layer) {
  std::vector<LearnedWeight> weights;
  for (const Parameter& parameter : find_method(c.method).parameters) {
    if (!parameter.form.empty() && parameter.form != form_of(c)) continue;
    if (layer == 0 && !parameter.first_layer) continue;
    Shape shape;
    for (const char axis : parameter.extents) shape.push_back(extent_of(axis, c, layer));
    const std::string axes(shape.size(), 'D');
    weights.push_back(
        {{layer_weight(c, layer, parameter.suffix), std::move(shape), axes}, parameter});
  }
  return weights;
}

namespace {

bool matches_one(std::string_view pattern, const std::string& name) {
  std::size_t p = 0, n = 0, star = std::string::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p, ++n;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (star != std::string::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace

bool matches(const std::string& pattern, const std::string& name) {
  if (pattern.empty()) return true;
  for (std::size_t begin = 0; begin <= pattern.size();) {
    const std::size_t end = std::min(pattern.find(',', begin), pattern.size());
    const std::string_view one = std::string_view(pattern).substr(begin, end - begin);
    if (!one.empty() && matches_one(one, name)) return true;
    begin = end + 1;
  }
  return false;
}

}  // namespace assay::golden
