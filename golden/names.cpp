#include "golden/names.h"

#include <fmt/format.h>

#include "golden/error.h"

namespace assay::golden {
namespace {

// Appends the tensors of one config in the order in which they are computed.
class Lister {
 public:
  Lister(const ModelConfig& config, int64_t batch, int64_t positions)
      : c_(config), family_(find_method(config.method).family), b_(batch), t_(positions) {}

  std::vector<TensorInfo> list() {
    add("embed", {b_, t_, c_.hidden_size}, "BTD");
    for (int64_t l = 0; l < c_.num_hidden_layers; ++l) layer(l);
    add("final_norm", {b_, t_, c_.hidden_size}, "BTD");
    add("logits", {b_, t_, c_.vocab_size}, "BTD");
    add("loss", {}, "");
    return std::move(tensors_);
  }

 private:
  void layer(int64_t l) {
    const int64_t heads = c_.num_attention_heads, kv = c_.num_key_value_heads, dh = c_.head_dim;
    const auto in_layer = [&](const char* tensor) { return layer_name(l, tensor); };
    add(in_layer("input"), {b_, t_, c_.hidden_size}, "BTD");
    add(in_layer("attn_norm"), {b_, t_, c_.hidden_size}, "BTD");
    add(in_layer("attn/q"), {b_, heads, t_, dh}, "BHTD");
    add(in_layer("attn/k"), {b_, kv, t_, dh}, "BGTD");
    add(in_layer("attn/v"), {b_, kv, t_, dh}, "BGTD");
    add(in_layer("attn/scores"), {b_, heads, t_, t_}, "BHTS");
    add(in_layer("attn/probs"), {b_, heads, t_, t_}, "BHTS");
    add(in_layer("attn/context"), {b_, t_, heads * dh}, "BTD");
    add(in_layer("attn/out"), {b_, t_, c_.hidden_size}, "BTD");
    if (family_ == Family::recompute_attn && l > 0) recompute(l, "attn/sum");
    add(in_layer("attn_residual"), {b_, t_, c_.hidden_size}, "BTD");
    add(in_layer("mlp_norm"), {b_, t_, c_.hidden_size}, "BTD");
    add(in_layer("mlp/gate"), {b_, t_, c_.intermediate_size}, "BTD");
    add(in_layer("mlp/up"), {b_, t_, c_.intermediate_size}, "BTD");
    add(in_layer("mlp/act"), {b_, t_, c_.intermediate_size}, "BTD");
    add(in_layer("mlp/out"), {b_, t_, c_.hidden_size}, "BTD");
    if (family_ == Family::recompute_mlp && l > 0) recompute(l, "mlp/sum");
    add(in_layer("output"), {b_, t_, c_.hidden_size}, "BTD");
  }

  // Earlier layers run again in layer l, up to where the method takes their output.
  void recompute(int64_t l, const char* sum) {
    for (int64_t j = 0; j < l; ++j) {
      const auto again = [&](const char* tensor) { return recompute_name(l, j, tensor); };
      add(again("attn_norm"), {b_, t_, c_.hidden_size}, "BTD");
      add(again("v"), {b_, c_.num_key_value_heads, t_, c_.head_dim}, "BGTD");
      add(again("context"), {b_, t_, c_.num_attention_heads * c_.head_dim}, "BTD");
      add(again("attn_out"), {b_, t_, c_.hidden_size}, "BTD");
      if (family_ == Family::recompute_attn) continue;
      add(again("mlp_norm"), {b_, t_, c_.hidden_size}, "BTD");
      add(again("mlp_act"), {b_, t_, c_.intermediate_size}, "BTD");
      add(again("mlp_out"), {b_, t_, c_.hidden_size}, "BTD");
    }
    add(layer_name(l, sum), {b_, t_, c_.hidden_size}, "BTD");
  }

  void add(std::string name, Shape shape, std::string axes) {
    tensors_.push_back({std::move(name), std::move(shape), std::move(axes)});
  }

  const ModelConfig& c_;
  Family family_;
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

}  // namespace

std::string layer_name(int64_t layer, const std::string& tensor) {
  return fmt::format("layers/{}/{}", layer, tensor);
}

std::string recompute_name(int64_t layer, int64_t earlier, const std::string& tensor) {
  return fmt::format("layers/{}/recompute/{}/{}", layer, earlier, tensor);
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
    return prob_transformer_tensors(config, batch, positions);
  }
  return Lister(config, batch, positions).list();
}

std::vector<TensorInfo> weight_list(const ModelConfig& c) {
  if (find_method(c.method).family == Family::prob_transformer) return prob_transformer_weights(c);
  const int64_t d = c.hidden_size, f = c.intermediate_size;
  const int64_t q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
  std::vector<TensorInfo> weights{{"model.embed_tokens.weight", {c.vocab_size, d}, "DD"}};
  for (int64_t l = 0; l < c.num_hidden_layers; ++l) {
    const auto add = [&](const char* name, Shape shape) {
      const std::string axes(shape.size(), 'D');
      weights.push_back(
          {fmt::format("model.layers.{}.{}.weight", l, name), std::move(shape), axes});
    };
    add("self_attn.q_proj", {q, d});
    add("self_attn.k_proj", {kv, d});
    add("self_attn.v_proj", {kv, d});
    add("self_attn.o_proj", {d, q});
    add("mlp.gate_proj", {f, d});
    add("mlp.up_proj", {f, d});
    add("mlp.down_proj", {d, f});
    add("input_layernorm", {d});
    add("post_attention_layernorm", {d});
    for (LearnedWeight& learned : learned_weights(c, l)) weights.push_back(std::move(learned.info));
  }
  weights.push_back({"model.norm.weight", {d}, "D"});
  if (!c.tie_word_embeddings) weights.push_back({"lm_head.weight", {c.vocab_size, d}, "DD"});
  return weights;
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
        {{fmt::format("model.layers.{}.{}", layer, parameter.suffix), std::move(shape), axes},
         parameter});
  }
  return weights;
}

bool matches(const std::string& pattern, const std::string& name) {
  if (pattern.empty()) return true;
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

}  // namespace assay::golden
