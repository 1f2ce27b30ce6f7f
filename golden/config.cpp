#include "golden/config.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "golden/error.h"

namespace assay::golden {
namespace {

using nlohmann::json;

// Reads keys of one JSON object; every complaint names the file and the key.
class Keys {
 public:
  Keys(const json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object_.is_object()) throw InputError(where_ + ": expected a JSON object");
  }

  bool has(const char* key) const { return object_.contains(key) && !object_[key].is_null(); }

  int64_t integer(const char* key) const {
    const json& value = required(key);
    if (!value.is_number_integer()) {
      throw InputError(
          fmt::format("{}: {}: expected a whole number, got {}", where_, key, value.dump()));
    }
    return value.get<int64_t>();
  }
  int64_t integer(const char* key, int64_t absent) const {
    return has(key) ? integer(key) : absent;
  }
  double number(const char* key) const {
    const json& value = required(key);
    if (!value.is_number()) {
      throw InputError(fmt::format("{}: {}: expected a number, got {}", where_, key, value.dump()));
    }
    return value.get<double>();
  }
  double number(const char* key, double absent) const { return has(key) ? number(key) : absent; }
  bool boolean(const char* key, bool absent) const {
    if (!has(key)) return absent;
    if (!object_[key].is_boolean()) {
      throw InputError(
          fmt::format("{}: {}: expected true or false, got {}", where_, key, object_[key].dump()));
    }
    return object_[key].get<bool>();
  }
  std::string text(const char* key, const std::string& absent) const {
    if (!has(key)) return absent;
    if (!object_[key].is_string()) {
      throw InputError(
          fmt::format("{}: {}: expected a string, got {}", where_, key, object_[key].dump()));
    }
    return object_[key].get<std::string>();
  }
  Keys object(const char* key) const { return {required(key), where_ + ": " + key}; }
  const std::string& where() const { return where_; }

 private:
  const json& required(const char* key) const {
    if (!has(key)) throw InputError(fmt::format("{}: key \"{}\" is missing", where_, key));
    return object_[key];
  }

  const json& object_;
  std::string where_;
};

RopeScaling parse_rope_scaling(const Keys& keys) {
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

Residual parse_residual(const std::string& text, const std::string& where) {
  if (text == "keep") return Residual::keep;
  if (text == "replace") return Residual::replace;
  throw InputError(fmt::format("{}: residual: expected keep or replace, got \"{}\"", where, text));
}

void refuse_biases(const Keys& keys) {
  for (const char* key : {"attention_bias", "mlp_bias"}) {
    if (keys.boolean(key, false)) {
      throw InputError(
          fmt::format("{}: {}: the Llama block here has no biases: expected false, got true",
                      keys.where(), key));
    }
  }
  const std::string activation = keys.text("hidden_act", "silu");
  if (activation != "silu") {
    throw InputError(
        fmt::format("{}: hidden_act: expected \"silu\", got \"{}\"", keys.where(), activation));
  }
}

}  // namespace

ModelConfig parse_config(const std::string& json_text, const std::string& where) {
  json document;
  try {
    document = json::parse(json_text);
  } catch (const json::parse_error& error) {
    throw InputError(fmt::format("{}: not JSON: {}", where, error.what()));
  }
  const Keys keys(document, where);
  refuse_biases(keys);

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
  c.rms_norm_eps = keys.number("rms_norm_eps", c.rms_norm_eps);
  c.rope_theta = keys.number("rope_theta", c.rope_theta);
  if (keys.has("rope_scaling")) c.rope_scaling = parse_rope_scaling(keys.object("rope_scaling"));
  c.tie_word_embeddings = keys.boolean("tie_word_embeddings", false);
  if (keys.has("assay")) {
    const Keys options = keys.object("assay");
    c.method = options.text("method", c.method);
    c.residual = parse_residual(options.text("residual", "keep"), options.where());
  }
  validate(c, where);
  return c;
}

std::string to_json(const ModelConfig& c) {
  json document = {
      {"hidden_size", c.hidden_size},
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
      {"assay",
       {{"method", c.method}, {"residual", c.residual == Residual::keep ? "keep" : "replace"}}}};
  if (c.rope_scaling) {
    document["rope_scaling"] = {
        {"rope_type", "llama3"},
        {"factor", c.rope_scaling->factor},
        {"low_freq_factor", c.rope_scaling->low_freq_factor},
        {"high_freq_factor", c.rope_scaling->high_freq_factor},
        {"original_max_position_embeddings", c.rope_scaling->original_max_position_embeddings}};
  }
  return document.dump();
}

void validate(const ModelConfig& c, const std::string& where) {
  const auto positive = [&](const char* key, int64_t value) {
    if (value < 1 || value > (int64_t{1} << 31)) {
      throw InputError(fmt::format("{}: {}: expected 1 .. 2^31, got {}", where, key, value));
    }
  };
  positive("hidden_size", c.hidden_size);
  positive("intermediate_size", c.intermediate_size);
  positive("num_hidden_layers", c.num_hidden_layers);
  positive("num_attention_heads", c.num_attention_heads);
  positive("num_key_value_heads", c.num_key_value_heads);
  positive("head_dim", c.head_dim);
  positive("vocab_size", c.vocab_size);
  positive("max_position_embeddings", c.max_position_embeddings);
  if (c.num_attention_heads % c.num_key_value_heads != 0) {
    throw InputError(fmt::format(
        "{}: num_key_value_heads: expected a divisor of num_attention_heads = {}, got {}", where,
        c.num_attention_heads, c.num_key_value_heads));
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

std::vector<std::string> preset_names() { return {"tiny", "small", "author"}; }

ModelConfig preset(const std::string& name) {
  ModelConfig c;
  if (name == "tiny") {
    c = {.hidden_size = 32,
         .intermediate_size = 48,
         .num_hidden_layers = 3,
         .num_attention_heads = 4,
         .num_key_value_heads = 2,
         .head_dim = 8,
         .vocab_size = 64};
  } else if (name == "small") {
    c = {.hidden_size = 128,
         .intermediate_size = 256,
         .num_hidden_layers = 4,
         .num_attention_heads = 8,
         .num_key_value_heads = 4,
         .head_dim = 16,
         .vocab_size = 256};
  } else if (name == "author") {
    c = {.hidden_size = 512,
         .intermediate_size = 1024,
         .num_hidden_layers = 8,
         .num_attention_heads = 8,
         .num_key_value_heads = 4,
         .head_dim = 64,
         .vocab_size = 32000};
  } else {
    throw InputError(
        fmt::format("--preset {}: no such preset; have {}", name, fmt::join(preset_names(), ", ")));
  }
  return c;
}

}  // namespace assay::golden
