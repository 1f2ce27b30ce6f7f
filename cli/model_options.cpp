#include "cli/model_options.h"

#include <fmt/format.h>

#include "datasets/tokens.h"
#include "golden/contract/error.h"
#include "golden/contract/methods.h"
#include "golden/contract/names.h"
#include "golden/contract/weights.h"
#include "golden/exchange/checkpoint.h"
#include "golden/file/files.h"

namespace assay::cli {
namespace {

// "(methods 1, 2, 3.1)": those that take the option.
std::string takers(const std::string& option) {
  std::vector<std::string> ids;
  for (const golden::MethodInfo& method : golden::methods()) {
    if (method.takes(option)) ids.push_back(method.id);
  }
  return fmt::format(" (methods {})", fmt::join(ids, ", "));
}

// An unsigned number is read modulo 2^64, and an empty text would be taken for an absent option.
std::string not_negative(const std::string& text) {
  return text.starts_with('-') ? "expected a whole number >= 0, got " + text : "";
}
std::string not_empty(const std::string& text) {
  return text.empty() ? "expected a value, got an empty one" : "";
}

void add_method_options(CLI::App& command, ModelOptions& options) {
  const auto add = [&](const char* flag, auto& value, const char* key, const char* what) {
    command.add_option(flag, value, what + takers(key));
  };
  add("--residual", options.residual, "residual", "keep (default) or replace the block's residual");
  command.add_flag("--detach-stored", options.detach_stored,
                   "no gradient through stored probabilities" + takers("detach_stored"));
  add("--form", options.form, "form", "form of the coefficients, see 'assay methods'");
  add("--score-gate-eps", options.score_gate_eps, "score_gate_eps",
      "eps of the gate's norm, default 2^-52");
  add("--score-positions", options.score_positions, "score_positions",
      "positions that parameters are for, default with a preset: --seq");
  add("--pt-output", options.pt_output, "pt",
      "mlm (default), or causal: the next token, from heads before their words");
  command.add_option(
      "--params", options.params,
      "learned parameters of the method: generic (default), away from where training "
      "starts, or initial");
}

void add_block_options(CLI::App& command, ModelOptions& options, CLI::Option* config) {
  command
      .add_option(
          "--block", options.block,
          "block of a preset: llama (default) or gpt2 (MHA, MLP 4 times as wide, tied head)")
      ->excludes(config);
  command
      .add_option("--family", options.family,
                  "family of a preset: llama (default), mistral (a window of 16), qwen2 (biases of "
                  "q, k, v), qwen3 (norms of q and k) or gpt2")
      ->excludes(config)
      ->excludes("--block");
  command.add_option("--norm", options.norm, "gpt2: pre (default) or post");
  command.add_option("--activation", options.activation, "gpt2: gelu_new (default) or gelu");
  command.add_option("--kv-heads", options.kv_heads,
                     "key/value heads: a divisor of the heads, 1 for MQA");
  command.add_option("--window", options.window,
                     "positions that a query sees, itself the last; 0 (default): all before it");
  command.add_option(
      "--window-kind", options.window_kind,
      "fixed (default); dynamic: each query has its own, of --window-min to --window "
      "positions; or centred: as many on either side, of method pt without causal "
      "heads");
  command.add_option("--window-min", options.window_min,
                     "positions that a query of a dynamic window sees at least; default 1");
  command.add_option("--sink-tokens", options.sink_tokens,
                     "first positions, which stay visible behind every window; default 0");
  command
      .add_option("--full-layers", options.full_layers,
                  "layers that the window is not of, e.g. 0,2; default: none")
      ->delimiter(',');
  command.add_option("--attention-bias", options.attention_bias,
                     "llama: biases of attention: none (default), qkv (of q, k, v) or all");
  command.add_option("--qk-norm", options.qk_norm,
                     "llama: RMSNorm over each head of q and k before RoPE: on or off (default)");
}

// "--norm" and what was typed, if the block knows it.
bool is_given(const char* flag, const std::string& value, const golden::ModelConfig& config) {
  if (!value.empty() && config.block != golden::BlockKind::gpt2) {
    throw InputError(fmt::format("{}: block {} has no such option; gpt2 has it", flag,
                                 golden::block_name(config.block)));
  }
  return !value.empty();
}

void set_window_min(int64_t least, golden::ModelConfig& config) {
  if (config.window_kind != golden::WindowKind::dynamic) {
    throw InputError(fmt::format(
        "--window-min {}: of a dynamic window: expected --window-kind dynamic beside it, got {}",
        least, golden::window_kind_name(config.window_kind)));
  }
  config.window_min = least;
}

void set_block_options(const ModelOptions& options, golden::ModelConfig& config) {
  if (is_given("--norm", options.norm, config)) {
    if (options.norm != "pre" && options.norm != "post") {
      throw InputError("--norm " + options.norm + ": expected pre or post");
    }
    config.norm = options.norm == "pre" ? golden::NormPosition::pre : golden::NormPosition::post;
  }
  if (is_given("--activation", options.activation, config)) {
    if (options.activation != "gelu" && options.activation != "gelu_new") {
      throw InputError("--activation " + options.activation + ": expected gelu_new or gelu");
    }
    config.activation =
        options.activation == "gelu" ? golden::Activation::gelu : golden::Activation::gelu_new;
  }
  if (options.kv_heads) config.num_key_value_heads = *options.kv_heads;
  if (options.window) config.window = *options.window;
  if (options.window && config.window == 0) {
    config.full_layers.clear();
    config.window_kind = golden::WindowKind::fixed;
  }
  if (!options.window_kind.empty()) {
    config.window_kind = golden::parse_window_kind(options.window_kind, "--window-kind");
  }
  if (config.window_kind != golden::WindowKind::dynamic) config.window_min = 1;
  if (options.window_min) set_window_min(*options.window_min, config);
  if (!options.full_layers.empty()) config.full_layers = options.full_layers;
  if (!options.attention_bias.empty()) {
    config.attention_bias = golden::parse_attention_bias(options.attention_bias, "options");
  }
  if (!options.qk_norm.empty()) {
    if (options.qk_norm != "on" && options.qk_norm != "off") {
      throw InputError("--qk-norm " + options.qk_norm + ": expected on or off");
    }
    config.qk_norm = options.qk_norm == "on";
  }
  if (options.sink_tokens) config.sink_tokens = *options.sink_tokens;
}

golden::Residual parse_residual(const std::string& text) {
  if (text == "keep") return golden::Residual::keep;
  if (text == "replace") return golden::Residual::replace;
  throw InputError("--residual " + text + ": expected keep or replace");
}

golden::Params parse_params(const std::string& text) {
  if (text == "generic") return golden::Params::generic;
  if (text == "initial") return golden::Params::initial;
  throw InputError("--params " + text + ": expected generic or initial");
}

// The next token is predicted from earlier words alone: causal heads, and a message that has no
// part of dependents.
void set_output(const std::string& text, golden::ProbTransformer& pt) {
  using Output = golden::ProbTransformer::Output;
  using Message = golden::ProbTransformer::Message;
  if (text != "mlm" && text != "causal") {
    throw InputError("--pt-output " + text + ": expected mlm or causal");
  }
  pt.output = text == "causal" ? Output::causal : Output::mlm;
  if (pt.output != Output::causal) return;
  pt.causal_heads = true;
  if (pt.message == Message::full) pt.message = Message::symmetric;
}

// Options that are given, one by one, so that a complaint names what was typed.
void set_method_options(const ModelOptions& options, golden::ModelConfig& config) {
  const golden::MethodInfo& method = golden::find_method(config.method);
  const auto given = [&](const char* flag, const char* key, bool is_given) {
    if (is_given && !method.takes(key)) {
      const std::vector<std::string> texts = golden::option_texts(method);
      throw InputError(
          fmt::format("{}: method {} has no such option; it has {}", flag, method.id,
                      texts.empty() ? "none" : fmt::format("{}", fmt::join(texts, ", "))));
    }
    return is_given;
  };
  if (given("--residual", "residual", !options.residual.empty())) {
    config.residual = parse_residual(options.residual);
  }
  if (given("--detach-stored", "detach_stored", options.detach_stored)) config.detach_stored = true;
  if (given("--form", "form", !options.form.empty())) config.form = options.form;
  if (given("--score-gate-eps", "score_gate_eps", options.score_gate_eps.has_value())) {
    config.score_gate_eps = *options.score_gate_eps;
  }
  if (given("--score-positions", "score_positions", options.score_positions.has_value())) {
    if (*options.score_positions < 1) {
      throw InputError(
          fmt::format("--score-positions {}: expected at least 1", *options.score_positions));
    }
    config.score_positions = *options.score_positions;
  } else if (options.config_path.empty() && options.checkpoint.empty() &&
             method.takes("score_positions")) {
    config.score_positions = options.positions;
  }
  if (given("--pt-output", "pt", !options.pt_output.empty())) {
    set_output(options.pt_output, config.pt);
  }
  if (!options.params.empty()) config.params = parse_params(options.params);
}

golden::ModelConfig base_config(const ModelOptions& options) {
  if (!options.checkpoint.empty()) {
    if (options.block.empty() && options.family.empty()) {
      return golden::read_checkpoint_config(options.checkpoint);
    }
    throw InputError(fmt::format(
        "{}: an option of presets; the checkpoint's config.json says the block and the family",
        options.block.empty() ? "--family" : "--block"));
  }
  if (options.config_path.empty()) {
    if (!options.family.empty()) {
      return golden::family_preset(options.preset, options.family, "--family");
    }
    const std::string block = options.block.empty() ? "llama" : options.block;
    return golden::preset(options.preset, golden::parse_block_name(block, "--block"));
  }
  return golden::read_config(options.config_path);
}

void check_run(const ModelOptions& options, const golden::ModelConfig& config) {
  try {
    golden::check_sizes(config, options.batch, options.positions);
  } catch (const InputError& error) {
    throw InputError(
        fmt::format("--batch {} --seq {}: {}", options.batch, options.positions, error.what()));
  }
}

}  // namespace

void add_model_options(CLI::App& command, ModelOptions& options) {
  auto* preset =
      command.add_option("--preset", options.preset,
                         fmt::format("model size: {}", fmt::join(golden::preset_names(), ", ")));
  preset->capture_default_str();
  auto* config =
      command.add_option("--config", options.config_path,
                         "Hugging Face config.json of a Llama, Mistral, Qwen2, Qwen3 or GPT-2");
  config->excludes(preset);
  add_block_options(command, options, config);
  command.add_option("--method", options.method, "method number ('assay methods' lists them)");
  add_method_options(command, options);
  command.add_option("--batch", options.batch, "rows of tokens")->capture_default_str();
  command.add_option("--seq", options.positions, "positions in a row")->capture_default_str();
  CLI::Option* tokens = command.add_option(
      "--tokens", options.tokens_path,
      "file of token ids (.bin of uint16 or uint32, .npy, .npz, .json, .jsonl, numbers) or text "
      "(bytes as tokens); default: drawn from the seed");
  command
      .add_option("--tokens-format", options.tokens_format,
                  fmt::format("of the file: {}", fmt::join(datasets::tokens_format_names(), ", ")))
      ->capture_default_str()
      ->needs(tokens);
  command.add_option("--seed", options.seed, "seed of weights and tokens")
      ->capture_default_str()
      ->check(not_negative);
  for (CLI::Option* option : command.get_options()) {
    if (!option->get_lnames().empty() && option->get_type_size() > 0) option->check(not_empty);
  }
}

golden::ModelConfig model_config(const ModelOptions& options) {
  golden::ModelConfig config = base_config(options);
  set_block_options(options, config);
  if (!options.method.empty()) config.method = options.method;
  if (options.batch < 1 || options.positions < 1) {
    throw InputError(fmt::format("--batch {} --seq {}: expected at least 1 each", options.batch,
                                 options.positions));
  }
  set_method_options(options, config);
  golden::validate(config, options.config_path.empty() ? "options" : options.config_path);
  check_run(options, config);
  return config;
}

void add_weights_option(CLI::App& command, ModelOptions& options) {
  command
      .add_option("--weights", options.checkpoint,
                  "Hugging Face folder with config.json and safetensors; default: weights drawn "
                  "from the seed")
      ->excludes("--preset")
      ->excludes("--config");
}

void require_at_least(const char* option, int64_t value, int64_t least) {
  if (value >= least) return;
  throw InputError(
      fmt::format("{} {}: expected a whole number of at least {}", option, value, least));
}

std::vector<std::string> model_inputs(const ModelOptions& options) {
  std::vector<std::string> inputs;
  for (const std::string& path : {options.config_path, options.checkpoint, options.tokens_path}) {
    if (!path.empty()) inputs.push_back(path);
  }
  return inputs;
}

std::vector<int32_t> model_tokens(const ModelOptions& options, const golden::ModelConfig& config,
                                  std::string* read_as) {
  const auto format = datasets::parse_tokens_format(options.tokens_format);
  if (!options.tokens_path.empty()) {
    datasets::Tokens tokens = datasets::read_tokens(options.tokens_path, format, options.batch,
                                                    options.positions, config.vocab_size);
    if (read_as != nullptr) *read_as = tokens.read_as;
    return std::move(tokens.values);
  }
  return golden::synthetic_tokens(config.vocab_size, options.batch, options.positions,
                                  options.seed);
}

verify::Batch unpadded(std::vector<int32_t> tokens, int64_t rows, int64_t positions) {
  verify::Batch batch;
  batch.batch = rows;
  batch.positions = positions;
  batch.attention_mask.assign(tokens.size(), 1);
  batch.labels = tokens;
  batch.tokens = std::move(tokens);
  return batch;
}

}  // namespace assay::cli
