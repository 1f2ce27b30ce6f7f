// The options that say which model and which tokens a command works on.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "verify/subjects/subject.h"

namespace assay::cli {

struct ModelOptions {
  std::string preset = "tiny";
  std::string config_path;       // config.json; excludes preset
  std::string checkpoint;        // folder whose config.json counts; excludes both
  std::string block;             // of a preset; "" is llama
  std::string family;            // of a preset; excludes block
  std::string norm, activation;  // of the GPT-2 block; "" leaves what the config says
  std::optional<int64_t> kv_heads, window, window_min, sink_tokens;  // empty: the config's
  std::vector<int64_t> full_layers;  // likewise, and of the next two
  std::string attention_bias, qk_norm, window_kind;
  std::string method;          // "" leaves what the config says
  std::string residual, form;  // options of the method; empty: what the config says
  bool detach_stored = false;
  std::optional<double> score_gate_eps;
  std::optional<int64_t> score_positions;
  std::string pt_output;  // of method pt; empty: what the config says
  std::string params;
  int64_t batch = 1;
  int64_t positions = 64;
  std::string tokens_path;  // "" draws uniform tokens from the seed
  std::string tokens_format = "auto";
  uint64_t seed = 1;
};

void add_model_options(CLI::App& command, ModelOptions& options);
// --weights, a checkpoint in place of a preset or a config.
void add_weights_option(CLI::App& command, ModelOptions& options);

// Throws InputError, with the option's name, for a smaller number.
void require_at_least(const char* option, int64_t value, int64_t least);

// Throws InputError for an unknown preset, block or method, an option that the block or the method
// does not take, or a bad config.json. A preset's score_positions are the positions of the run
// unless stated.
golden::ModelConfig model_config(const ModelOptions& options);

// The files and folders that the options read from.
std::vector<std::string> model_inputs(const ModelOptions& options);

// read_as: set to what a file of tokens was read as, for a summary.
std::vector<int32_t> model_tokens(const ModelOptions& options, const golden::ModelConfig& config,
                                  std::string* read_as = nullptr);

// Rows of tokens without padding, every token a label.
verify::Batch unpadded(std::vector<int32_t> tokens, int64_t rows, int64_t positions);

}  // namespace assay::cli
