// What a model is: the keys of a Hugging Face Llama config.json plus the method and its options.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "golden/tensor.h"

namespace assay::golden {

// rope_scaling of kind "llama3": low frequencies are divided by factor, high ones kept.
struct RopeScaling {
  double factor = 8.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  int64_t original_max_position_embeddings = 8192;
};

// Whether a recompute method keeps the block's own residual at its site in layers l >= 1.
enum class Residual { keep, replace };

// Names in comments elsewhere: D = hidden_size, F = intermediate_size, L = num_hidden_layers,
// H = num_attention_heads, Hkv = num_key_value_heads, Dh = head_dim, V = vocab_size.
struct ModelConfig {
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t vocab_size = 0;
  int64_t max_position_embeddings = 2048;
  double rms_norm_eps = 1e-5;
  double rope_theta = 10000.0;
  std::optional<RopeScaling> rope_scaling = std::nullopt;
  bool tie_word_embeddings = false;

  std::string method = "plain";  // methods.md's number: "plain", "1", "5.1"
  Residual residual = Residual::keep;
};

// Throws InputError naming `where` and the key for anything missing, mistyped or inconsistent
// (extents < 1, Hkv not dividing H, odd Dh, biases, an unknown rope_scaling kind or method option).
// Keys of config.json that do not change the mathematics are ignored; the method stands under
// "assay": {"method": .., "residual": "keep" | "replace"}.
ModelConfig parse_config(const std::string& json_text, const std::string& where);

// Canonical JSON: sorted keys, every key written. parse_config(to_json(c)) == c, and equal configs
// give equal text, which config_hash rests on.
std::string to_json(const ModelConfig& config);

// The checks of parse_config on a config made in code.
void validate(const ModelConfig& config, const std::string& where);

// tiny (CI: D=32, L=3), small (D=128, L=4), author (the configuration the methods were trained
// with).
ModelConfig preset(const std::string& name);
std::vector<std::string> preset_names();

}  // namespace assay::golden
