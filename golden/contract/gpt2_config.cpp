#include "golden/contract/gpt2_config.h"

#include <fmt/format.h>

#include "golden/contract/error.h"
#include "golden/contract/methods.h"

namespace assay::golden {
namespace {

using nlohmann::json;

void refuse_other_mathematics(const JsonKeys& keys) {
  const auto expect = [&](const char* key, bool expected) {
    if (keys.boolean(key, expected) == expected) return;
    throw InputError(fmt::format("{}: {}: the GPT-2 block here has none of it: expected {}, got {}",
                                 keys.where(), key, expected, !expected));
  };
  expect("scale_attn_weights", true);
  expect("scale_attn_by_inverse_layer_idx", false);
  expect("add_cross_attention", false);
}

Activation parse_activation(const JsonKeys& keys) {
  const std::string name = keys.text("activation_function", "gelu_new");
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Activation::gelu_new;
  if (name == "gelu") return Activation::gelu;
  throw InputError(
      fmt::format("{}: activation_function: expected \"gelu_new\", \"gelu_pytorch_tanh\" or "
                  "\"gelu\", got \"{}\"",
                  keys.where(), name));
}

NormPosition parse_norm(const JsonKeys& keys) {
  const std::string name = keys.text("norm", "pre");
  if (name == "pre") return NormPosition::pre;
  if (name == "post") return NormPosition::post;
  throw InputError(fmt::format("{}: norm: expected pre or post, got \"{}\"", keys.where(), name));
}

// What GPT2Config has no keys for, under "assay".
void parse_extensions(const JsonKeys& keys, ModelConfig& c) {
  c.norm = parse_norm(keys);
  c.num_key_value_heads = keys.integer("num_key_value_heads", c.num_key_value_heads);
  c.head_dim = keys.integer("head_dim", c.head_dim);
}

}  // namespace

ModelConfig parse_gpt2(const JsonKeys& keys) {
  refuse_other_mathematics(keys);
  ModelConfig c;
  c.block = BlockKind::gpt2;
  c.hidden_size = keys.integer("n_embd");
  c.intermediate_size = keys.integer("n_inner", 4 * c.hidden_size);
  c.num_hidden_layers = keys.integer("n_layer");
  c.num_attention_heads = c.num_key_value_heads = keys.integer("n_head");
  c.vocab_size = keys.integer("vocab_size");
  c.max_position_embeddings = keys.integer("n_positions");
  c.layer_norm_eps = keys.number("layer_norm_epsilon", c.layer_norm_eps);
  c.activation = parse_activation(keys);
  c.tie_word_embeddings = keys.boolean("tie_word_embeddings", true);
  const int64_t heads = c.num_attention_heads;
  if (heads > 0 && c.hidden_size % heads == 0) c.head_dim = c.hidden_size / heads;
  if (keys.has("assay")) parse_extensions(keys.object("assay"), c);
  if (c.head_dim == 0 && heads > 0) {
    throw InputError(fmt::format("{}: n_head: expected a divisor of n_embd = {}, got {}",
                                 keys.where(), c.hidden_size, heads));
  }
  return c;
}

json gpt2_json(const ModelConfig& c) {
  return {{"model_type", "gpt2"},
          {"n_embd", c.hidden_size},
          {"n_inner", c.intermediate_size},
          {"n_layer", c.num_hidden_layers},
          {"n_head", c.num_attention_heads},
          {"n_positions", c.max_position_embeddings},
          {"vocab_size", c.vocab_size},
          {"layer_norm_epsilon", c.layer_norm_eps},
          {"activation_function", c.activation == Activation::gelu ? "gelu" : "gelu_new"},
          {"tie_word_embeddings", c.tie_word_embeddings},
          {"assay",
           {{"norm", c.norm == NormPosition::pre ? "pre" : "post"},
            {"num_key_value_heads", c.num_key_value_heads},
            {"head_dim", c.head_dim}}}};
}

void validate_gpt2(const ModelConfig& c, const std::string& where) {
  if (c.rope_scaling) {
    throw InputError(where +
                     ": rope_scaling: the GPT-2 block has learned positions: expected none");
  }
  if (find_method(c.method).family == Family::prob_transformer) {
    throw InputError(where + ": method pt: a model of its own: expected block llama, got gpt2");
  }
  if (!(c.layer_norm_eps > 0)) {
    throw InputError(
        fmt::format("{}: layer_norm_epsilon: expected > 0, got {}", where, c.layer_norm_eps));
  }
}

ModelConfig as_gpt2(ModelConfig c) {
  c.block = BlockKind::gpt2;
  c.num_key_value_heads = c.num_attention_heads;
  c.intermediate_size = 4 * c.hidden_size;
  c.max_position_embeddings = 1024;
  c.tie_word_embeddings = true;
  return c;
}

}  // namespace assay::golden
