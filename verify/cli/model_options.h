// The options that say which model and which tokens a command works on.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "golden/config.h"

namespace assay::cli {

struct ModelOptions {
  std::string preset = "tiny";
  std::string config_path;  // config.json; excludes preset
  std::string method;       // "" leaves what the config says
  std::string residual;
  int64_t batch = 1;
  int64_t positions = 64;
  std::string tokens_path;  // "" draws uniform tokens from the seed
  uint64_t seed = 1;
};

void add_model_options(CLI::App& command, ModelOptions& options);

// Throws InputError for an unknown preset, method or residual, or a bad config.json.
golden::ModelConfig model_config(const ModelOptions& options);

std::vector<int32_t> model_tokens(const ModelOptions& options, const golden::ModelConfig& config);

}  // namespace assay::cli
