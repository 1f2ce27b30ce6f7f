#include "verify/cli/model_options.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>

#include "datasets/tokens.h"
#include "golden/error.h"
#include "golden/weights.h"
#include "reference/methods/registry.h"

namespace assay::cli {
namespace {

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw InputError(path + ": cannot be read: expected a config.json");
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

void add_model_options(CLI::App& command, ModelOptions& options) {
  auto* preset =
      command.add_option("--preset", options.preset,
                         fmt::format("model size: {}", fmt::join(golden::preset_names(), ", ")));
  preset->capture_default_str();
  command.add_option("--config", options.config_path, "Hugging Face Llama config.json")
      ->excludes(preset);
  command.add_option("--method", options.method, "method number ('assay methods' lists them)");
  command.add_option("--residual", options.residual, "method 1: keep (default) or replace");
  command.add_option("--batch", options.batch, "rows of tokens")->capture_default_str();
  command.add_option("--seq", options.positions, "positions in a row")->capture_default_str();
  command.add_option(
      "--tokens", options.tokens_path,
      "text file (bytes as tokens) or JSON token lists; default: drawn from the seed");
  command.add_option("--seed", options.seed, "seed of weights and tokens")->capture_default_str();
}

golden::ModelConfig model_config(const ModelOptions& options) {
  golden::ModelConfig config =
      options.config_path.empty()
          ? golden::preset(options.preset)
          : golden::parse_config(read_text(options.config_path), options.config_path);
  if (!options.method.empty()) config.method = options.method;
  reference::find_method(config.method);
  if (!options.residual.empty()) {
    if (options.residual != "keep" && options.residual != "replace") {
      throw InputError("--residual " + options.residual + ": expected keep or replace");
    }
    if (config.method != "1") {
      throw InputError("--residual: an option of method 1, but the method is " + config.method);
    }
    config.residual =
        options.residual == "keep" ? golden::Residual::keep : golden::Residual::replace;
  }
  if (options.batch < 1 || options.positions < 1) {
    throw InputError(fmt::format("--batch {} --seq {}: expected at least 1 each", options.batch,
                                 options.positions));
  }
  return config;
}

std::vector<int32_t> model_tokens(const ModelOptions& options, const golden::ModelConfig& config) {
  if (!options.tokens_path.empty()) {
    return datasets::read_tokens(options.tokens_path, options.batch, options.positions,
                                 config.vocab_size);
  }
  return golden::synthetic_tokens(config.vocab_size, options.batch, options.positions,
                                  options.seed);
}

}  // namespace assay::cli
