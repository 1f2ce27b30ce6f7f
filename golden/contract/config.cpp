#include "golden/contract/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "golden/contract/block_config.h"
#include "golden/contract/config_keys.h"
#include "golden/contract/error.h"
#include "golden/contract/json_keys.h"
#include "golden/contract/methods.h"
#include "golden/contract/names.h"
#include "golden/contract/strict_json.h"

namespace assay::golden {
namespace {

using nlohmann::json;

constexpr int64_t kPresetWindow = 16;

Residual parse_residual(const std::string& text, const std::string& where) {
  if (text == "keep") return Residual::keep;
  if (text == "replace") return Residual::replace;
  throw InputError(fmt::format("{}: residual: expected keep or replace, got \"{}\"", where, text));
}

Params parse_params(const std::string& text, const std::string& where) {
  if (text == "generic") return Params::generic;
  if (text == "initial") return Params::initial;
  throw InputError(fmt::format("{}: params: expected generic or initial, got \"{}\"", where, text));
}

[[noreturn]] void refuse_option(const MethodInfo& method, const std::string& option,
                                const std::string& where) {
  const std::vector<std::string> texts = option_texts(method);
  throw InputError(fmt::format("{}: {}: method {} has no such option; it has {}", where, option,
                               method.id,
                               texts.empty() ? "none" : fmt::format("{}", fmt::join(texts, ", "))));
}

// "note" is what an exported model says to its reader.
void refuse_other_extensions(const JsonKeys& keys, BlockKind block) {
  std::vector<std::string> known{"method",      "residual",    "detach_stored",  "form",
                                 "params",      "window",      "score_gate_eps", "score_positions",
                                 "sink_tokens", "full_layers", "attention_bias", "qk_norm",
                                 "pt",          "window_kind", "window_min",     "note"};
  if (block == BlockKind::gpt2)
    known.insert(known.end(), {"norm", "num_key_value_heads", "head_dim"});
  keys.only(known);
}

void parse_attention(const JsonKeys& keys, ModelConfig& c) {
  c.window = keys.integer("window", c.window);
  c.window_kind = parse_window_kind(keys.text("window_kind", "fixed"), keys.where());
  if (keys.has("window_min")) {
    if (c.window_kind != WindowKind::dynamic) refuse_window_min(keys.where());
    c.window_min = keys.integer("window_min", c.window_min);
  }
  c.sink_tokens = keys.integer("sink_tokens", c.sink_tokens);
  if (keys.has("full_layers")) c.full_layers = keys.integers("full_layers");
  c.attention_bias = parse_attention_bias(keys.text("attention_bias", "none"), keys.where());
  c.qk_norm = keys.boolean("qk_norm", false);
}

// "assay": the method and its options.
void parse_method(const JsonKeys& keys, ModelConfig& c) {
  c.method = keys.text("method", c.method);
  const MethodInfo& method = find_method(c.method, keys.where() + ": method");
  for (const char* option : {"detach_stored", "form", "score_gate_eps", "score_positions", "pt"}) {
    if (keys.has(option) && !method.takes(option)) refuse_option(method, option, keys.where());
  }
  c.residual = parse_residual(keys.text("residual", "keep"), keys.where());
  c.detach_stored = keys.boolean("detach_stored", c.detach_stored);
  c.form = keys.text("form", c.form);
  c.score_gate_eps = keys.number("score_gate_eps", c.score_gate_eps);
  c.score_positions = keys.integer("score_positions", c.score_positions);
  c.params = parse_params(keys.text("params", "generic"), keys.where());
  if (keys.has("pt")) c.pt = parse_prob_transformer(keys.object("pt"));
}

json method_json(const ModelConfig& c) {
  const MethodInfo& method = find_method(c.method);
  json options = {{"method", c.method},
                  {"residual", c.residual == Residual::keep ? "keep" : "replace"}};
  if (c.detach_stored) options["detach_stored"] = true;
  if (method.takes("form")) options["form"] = form_of(c);
  if (method.takes("score_gate_eps")) options["score_gate_eps"] = c.score_gate_eps;
  if (method.takes("score_positions")) options["score_positions"] = score_positions_of(c);
  if (c.params == Params::initial) options["params"] = "initial";
  if (c.window != 0) options["window"] = c.window;
  if (c.window_kind != WindowKind::fixed) options["window_kind"] = window_kind_name(c.window_kind);
  if (c.window_kind == WindowKind::dynamic) options["window_min"] = c.window_min;
  if (c.sink_tokens != 0) options["sink_tokens"] = c.sink_tokens;
  if (!c.full_layers.empty()) options["full_layers"] = c.full_layers;
  if (c.attention_bias != AttentionBias::none) {
    options["attention_bias"] = attention_bias_name(c.attention_bias);
  }
  if (c.qk_norm) options["qk_norm"] = true;
  if (method.takes("pt")) options["pt"] = json::parse(prob_transformer_json(c));
  return options;
}

void validate_method(const ModelConfig& c, const std::string& where) {
  const MethodInfo& method = find_method(c.method, where + ": method");
  const ModelConfig defaults;
  const auto set = [&](const char* option, bool given) {
    if (given && !method.takes(option)) refuse_option(method, option, where);
  };
  set("residual", c.residual != defaults.residual);
  set("detach_stored", c.detach_stored);
  set("form", !c.form.empty());
  set("score_gate_eps", c.score_gate_eps != defaults.score_gate_eps);
  set("score_positions", c.score_positions != 0);
  set("pt", c.pt != defaults.pt);
  if (method.takes("pt")) validate_prob_transformer(c, where);
  const auto& forms = method.forms;
  if (!c.form.empty() && std::find(forms.begin(), forms.end(), c.form) == forms.end()) {
    throw InputError(fmt::format("{}: form: method {}: expected {}, got \"{}\"", where, c.method,
                                 fmt::join(forms, ", "), c.form));
  }
  if (!(c.score_gate_eps > 0)) {
    throw InputError(
        fmt::format("{}: score_gate_eps: expected > 0, got {}", where, c.score_gate_eps));
  }
  if (c.score_positions < 0 || c.score_positions > (int64_t{1} << 31)) {
    throw InputError(
        fmt::format("{}: score_positions: expected 1 .. 2^31, or 0 for max_position_embeddings, "
                    "got {}",
                    where, c.score_positions));
  }
}

}  // namespace

ModelConfig parse_config(const std::string& json_text, const std::string& where) {
  const json document = settle_config(parse_strict_json(json_text, where, kHandWritten), where);
  const JsonKeys keys(document, where);
  ModelConfig c = keys.text("model_type", "llama") == "gpt2" ? parse_gpt2(keys) : parse_llama(keys);
  if (keys.has("assay")) {
    refuse_other_extensions(keys.object("assay"), c.block);
    parse_method(keys.object("assay"), c);
    parse_attention(keys.object("assay"), c);
  }
  validate(c, where);
  return c;
}

std::string to_json(const ModelConfig& c) {
  json document = c.block == BlockKind::gpt2 ? gpt2_json(c) : llama_json(c);
  document["assay"].update(method_json(c));
  return document.dump();
}

void validate(const ModelConfig& c, const std::string& where) {
  const auto within = [&](const char* key, int64_t value, int64_t most, const char* shown) {
    if (value < 1 || value > most) {
      throw InputError(fmt::format("{}: {}: expected 1 .. {}, got {}", where, key, shown, value));
    }
  };
  const auto positive = [&](const char* key, int64_t value) {
    within(key, value, int64_t{1} << 31, "2^31");
  };
  positive("hidden_size", c.hidden_size);
  positive("intermediate_size", c.intermediate_size);
  within("num_hidden_layers", c.num_hidden_layers, kMostLayers, "1024");
  positive("num_attention_heads", c.num_attention_heads);
  positive("num_key_value_heads", c.num_key_value_heads);
  positive("head_dim", c.head_dim);
  positive("vocab_size", c.vocab_size);
  positive("max_position_embeddings", c.max_position_embeddings);
  within("num_attention_heads * head_dim", c.num_attention_heads * c.head_dim, int64_t{1} << 31,
         "2^31");
  if (c.num_attention_heads % c.num_key_value_heads != 0) {
    throw InputError(fmt::format(
        "{}: num_key_value_heads: expected a divisor of num_attention_heads = {}, got {}", where,
        c.num_attention_heads, c.num_key_value_heads));
  }
  if (c.block == BlockKind::gpt2) {
    validate_gpt2(c, where);
  } else {
    validate_llama(c, where);
  }
  validate_method(c, where);
  validate_window(c, where);
}

bool has_dynamic_window(const ModelConfig& c, int64_t layer) {
  return c.window_kind == WindowKind::dynamic && window_of(c, layer) != 0;
}

int64_t window_of(const ModelConfig& c, int64_t layer) {
  return std::binary_search(c.full_layers.begin(), c.full_layers.end(), layer) ? 0 : c.window;
}

std::string form_of(const ModelConfig& c) {
  const MethodInfo& method = find_method(c.method);
  return c.form.empty() && !method.forms.empty() ? method.forms.front() : c.form;
}

int64_t score_positions_of(const ModelConfig& c) {
  return c.score_positions == 0 ? c.max_position_embeddings : c.score_positions;
}

std::vector<std::string> preset_names() { return {"tiny", "small", "author"}; }

ModelConfig preset(const std::string& name, BlockKind block) {
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
  return block == BlockKind::gpt2 ? as_gpt2(c) : c;
}

std::vector<std::string> family_names() { return {"llama", "mistral", "qwen2", "qwen3", "gpt2"}; }

ModelConfig family_preset(const std::string& name, const std::string& family,
                          const std::string& where) {
  const std::vector<std::string> known = family_names();
  if (std::find(known.begin(), known.end(), family) == known.end()) {
    throw InputError(
        fmt::format("{} {}: no such family; have {}", where, family, fmt::join(known, ", ")));
  }
  ModelConfig c = preset(name, family == "gpt2" ? BlockKind::gpt2 : BlockKind::llama);
  if (family == "mistral") c.window = kPresetWindow;
  if (family == "qwen2") c.attention_bias = AttentionBias::qkv;
  if (family == "qwen3") c.qk_norm = true;
  return c;
}

std::string window_kind_name(WindowKind kind) {
  if (kind == WindowKind::dynamic) return "dynamic";
  return kind == WindowKind::fixed ? "fixed" : "centred";
}

WindowKind parse_window_kind(const std::string& name, const std::string& where) {
  for (const WindowKind kind : {WindowKind::fixed, WindowKind::centred, WindowKind::dynamic}) {
    if (name == window_kind_name(kind)) return kind;
  }
  throw InputError(
      fmt::format("{}: window_kind: expected fixed, centred or dynamic, got \"{}\"", where, name));
}

std::string attention_bias_name(AttentionBias bias) {
  return bias == AttentionBias::none ? "none" : bias == AttentionBias::qkv ? "qkv" : "all";
}

AttentionBias parse_attention_bias(const std::string& name, const std::string& where) {
  for (const AttentionBias bias : {AttentionBias::none, AttentionBias::qkv, AttentionBias::all}) {
    if (name == attention_bias_name(bias)) return bias;
  }
  throw InputError(
      fmt::format("{}: attention_bias: expected none, qkv (of q, k and v) or all, got "
                  "\"{}\"",
                  where, name));
}

std::string block_name(BlockKind block) { return block == BlockKind::gpt2 ? "gpt2" : "llama"; }

BlockKind parse_block_name(const std::string& name, const std::string& where) {
  for (const BlockKind block : {BlockKind::llama, BlockKind::gpt2}) {
    if (name == block_name(block)) return block;
  }
  throw InputError(fmt::format("{} {}: no such block; have llama, gpt2", where, name));
}

}  // namespace assay::golden
