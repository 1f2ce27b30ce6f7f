#include "golden/contract/block_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "golden/contract/error.h"
#include "golden/contract/methods.h"

namespace assay::golden {
namespace {

using nlohmann::json;

constexpr int64_t kMostDynamicWindow = int64_t{1} << 24;  // whole numbers up to it are floats
constexpr double kClassEps = 1e-6;  // rms_norm_eps of every class of the Llama block

RopeScaling parse_rope_scaling(const JsonKeys& keys) {
  const std::string kind = keys.text("rope_type", keys.text("type", ""));
  if (kind != "llama3") {
    throw InputError(
        fmt::format("{}: rope_type: expected \"llama3\", got \"{}\"", keys.where(), kind));
  }
  return {.factor = keys.number("factor"),
          .low_freq_factor = keys.number("low_freq_factor"),
          .high_freq_factor = keys.number("high_freq_factor"),
          .original_max_position_embeddings = keys.integer("original_max_position_embeddings")};
}

void refuse_other_mlps(const JsonKeys& keys) {
  if (keys.boolean("mlp_bias", false)) {
    throw InputError(
        fmt::format("{}: mlp_bias: the MLP of the Llama block here has no biases: expected false, "
                    "got true",
                    keys.where()));
  }
  const std::string activation = keys.text("hidden_act", "silu");
  if (activation != "silu" && activation != "swish") {  // two names of one function
    throw InputError(
        fmt::format("{}: hidden_act: expected \"silu\", got \"{}\"", keys.where(), activation));
  }
}

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

void validate_full_layers(const ModelConfig& c, const std::string& where) {
  const std::vector<int64_t>& full = c.full_layers;
  if (full.empty()) return;
  const auto refuse = [&](const std::string& expected) {
    throw InputError(fmt::format("{}: full_layers: expected {}, got {}", where, expected,
                                 fmt::join(full, ", ")));
  };
  if (c.window == 0) refuse("none without a window, which no layer has then");
  const bool ascending =
      std::adjacent_find(full.begin(), full.end(), std::greater_equal<>()) == full.end();
  if (!ascending || full.front() < 0 || full.back() >= c.num_hidden_layers) {
    refuse(fmt::format("layers of 0 .. {}, each once and ascending", c.num_hidden_layers - 1));
  }
  if (static_cast<int64_t>(full.size()) == c.num_hidden_layers) {
    refuse("a layer that has the window, or window 0");
  }
}

void validate_dynamic_window(const ModelConfig& c, const std::string& where) {
  if (c.method == "pt") {
    throw InputError(where +
                     ": window_kind: method pt has no scores of causal attention to size windows "
                     "by: expected fixed or, without causal_heads, centred, got dynamic");
  }
  if (c.window == 0) {
    throw InputError(where +
                     ": window_kind: expected a window, the largest that a dynamic one may be, got "
                     "window 0");
  }
  if (c.window > kMostDynamicWindow) {
    throw InputError(
        fmt::format("{}: window: expected at most 2^24 = {} of a dynamic window, got {}", where,
                    kMostDynamicWindow, c.window));
  }
  if (c.window_min < 1 || c.window_min > c.window) {
    throw InputError(
        fmt::format("{}: window_min: expected 1 .. {}, the window, of which it is the least size, "
                    "got {}",
                    where, c.window, c.window_min));
  }
}

void validate_window_kind(const ModelConfig& c, const std::string& where) {
  if (c.window_kind == WindowKind::dynamic) return validate_dynamic_window(c, where);
  if (c.window_min != 1) refuse_window_min(where);
  if (c.window_kind == WindowKind::fixed) return;
  const bool causal = c.method != "pt" || c.pt.causal_heads;
  if (causal) {
    throw InputError(fmt::format(
        "{}: window_kind: a centred window sees later positions: expected fixed in a causal model, "
        "which {} is, got centred; it is of method pt without causal_heads",
        where, c.method == "pt" ? "pt with causal_heads" : "method " + c.method));
  }
  if (c.window == 0) {
    throw InputError(where + ": window_kind: expected a window that is centred, got window 0");
  }
  if (c.sink_tokens != 0 || !c.full_layers.empty()) {
    throw InputError(fmt::format("{}: {}: expected none with a centred window", where,
                                 c.sink_tokens != 0 ? "sink_tokens" : "full_layers"));
  }
}

}  // namespace

ModelConfig parse_llama(const JsonKeys& keys) {
  refuse_other_mlps(keys);
  ModelConfig c;
  c.hidden_size = keys.integer("hidden_size");
  c.intermediate_size = keys.integer("intermediate_size");
  c.num_hidden_layers = keys.integer("num_hidden_layers");
  c.num_attention_heads = keys.integer("num_attention_heads");
  c.num_key_value_heads = keys.integer("num_key_value_heads", c.num_attention_heads);
  const bool divides = c.num_attention_heads > 0 && c.hidden_size % c.num_attention_heads == 0;
  c.head_dim = !keys.has("head_dim") && divides ? c.hidden_size / c.num_attention_heads
                                                : keys.integer("head_dim");
  c.vocab_size = keys.integer("vocab_size");
  c.max_position_embeddings = keys.integer("max_position_embeddings", c.max_position_embeddings);
  c.rms_norm_eps = keys.number("rms_norm_eps", kClassEps);
  c.rope_theta = keys.number("rope_theta", c.rope_theta);
  if (keys.has("rope_scaling")) c.rope_scaling = parse_rope_scaling(keys.object("rope_scaling"));
  c.tie_word_embeddings = keys.boolean("tie_word_embeddings", false);
  return c;
}

json llama_json(const ModelConfig& c) {
  json document = {{"hidden_size", c.hidden_size},
                   {"intermediate_size", c.intermediate_size},
                   {"num_hidden_layers", c.num_hidden_layers},
                   {"num_attention_heads", c.num_attention_heads},
                   {"num_key_value_heads", c.num_key_value_heads},
                   {"head_dim", c.head_dim},
                   {"vocab_size", c.vocab_size},
                   {"max_position_embeddings", c.max_position_embeddings},
                   {"rms_norm_eps", c.rms_norm_eps},
                   {"rope_theta", c.rope_theta},
                   {"rope_scaling", nullptr},
                   {"tie_word_embeddings", c.tie_word_embeddings},
                   {"assay", json::object()}};
  if (c.rope_scaling) {
    document["rope_scaling"] = {
        {"rope_type", "llama3"},
        {"factor", c.rope_scaling->factor},
        {"low_freq_factor", c.rope_scaling->low_freq_factor},
        {"high_freq_factor", c.rope_scaling->high_freq_factor},
        {"original_max_position_embeddings", c.rope_scaling->original_max_position_embeddings}};
  }
  return document;
}

void validate_llama(const ModelConfig& c, const std::string& where) {
  if (c.norm != NormPosition::pre) {
    throw InputError(where + ": norm: the Llama block is pre-norm: expected pre, got post");
  }
  if (c.head_dim % 2 != 0) {
    throw InputError(fmt::format("{}: head_dim: expected an even number (RoPE turns pairs), got {}",
                                 where, c.head_dim));
  }
  if (!(c.rms_norm_eps > 0)) {
    throw InputError(fmt::format("{}: rms_norm_eps: expected > 0, got {}", where, c.rms_norm_eps));
  }
  if (!(c.rope_theta > 1)) {
    throw InputError(fmt::format("{}: rope_theta: expected > 1, got {}", where, c.rope_theta));
  }
  if (c.rope_scaling && (!(c.rope_scaling->factor >= 1) || !(c.rope_scaling->low_freq_factor > 0) ||
                         !(c.rope_scaling->high_freq_factor > c.rope_scaling->low_freq_factor))) {
    throw InputError(fmt::format(
        "{}: rope_scaling: expected factor >= 1 and high_freq_factor > low_freq_factor > 0",
        where));
  }
}

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
  if (c.attention_bias != AttentionBias::none || c.qk_norm) {
    throw InputError(
        fmt::format("{}: {}: an option of the Llama block; the GPT-2 block has its own biases and "
                    "no norms of q "
                    "and k",
                    where, c.qk_norm ? "qk_norm" : "attention_bias"));
  }
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

void refuse_window_min(const std::string& where) {
  throw InputError(where +
                   ": window_min: the least size of a dynamic window: expected none with another "
                   "kind; set window_kind to dynamic");
}

void validate_window(const ModelConfig& c, const std::string& where) {
  const auto count = [&](const char* key, int64_t value, const char* zero) {
    if (value < 0 || value > (int64_t{1} << 31)) {
      throw InputError(
          fmt::format("{}: {}: expected 1 .. 2^31, or 0 for {}, got {}", where, key, zero, value));
    }
  };
  count("window", c.window, "every earlier position");
  count("sink_tokens", c.sink_tokens, "none");
  if (c.sink_tokens != 0 && c.window == 0) {
    throw InputError(fmt::format(
        "{}: sink_tokens: expected 0 without a window, which hides none of them, got {}", where,
        c.sink_tokens));
  }
  validate_window_kind(c, where);
  if (c.window != 0 && c.method == "pt" && c.window_kind == WindowKind::fixed) {
    throw InputError(fmt::format(
        "{}: window: method pt has no attention to narrow: expected 0, got {}", where, c.window));
  }
  if ((c.attention_bias != AttentionBias::none || c.qk_norm) && c.method == "pt") {
    throw InputError(fmt::format("{}: {}: method pt has no projections of attention", where,
                                 c.qk_norm ? "qk_norm" : "attention_bias"));
  }
  validate_full_layers(c, where);
}

}  // namespace assay::golden
