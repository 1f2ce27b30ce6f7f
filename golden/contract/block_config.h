// The parts of a config that are a block's own: the keys of Hugging Face's classes of the Llama
// block (Llama, Mistral, Qwen2, Qwen3) and of GPT2Config.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "golden/contract/config.h"
#include "golden/contract/json_keys.h"

namespace assay::golden {

// Everything but what stands under "assay", of settled keys (config_keys.h). Throws InputError for
// biases of the MLP, another hidden_act, another rope_scaling than llama3.
ModelConfig parse_llama(const JsonKeys& keys);

// Canonical.
nlohmann::json llama_json(const ModelConfig& config);

void validate_llama(const ModelConfig& config, const std::string& where);

// Everything but the method. Throws InputError for what changes the mathematics in a way that the
// GPT-2 block here does not have: scale_attn_weights false, scale_attn_by_inverse_layer_idx,
// add_cross_attention, another activation_function. The keys are settled (config_keys.h).
ModelConfig parse_gpt2(const JsonKeys& keys);

// Canonical; gelu_pytorch_tanh is gelu_new, n_inner is never null.
nlohmann::json gpt2_json(const ModelConfig& config);

void validate_gpt2(const ModelConfig& config, const std::string& where);

// Of attention in either block: windows, sinks, the layers that have none, biases and norms.
void validate_window(const ModelConfig& config, const std::string& where);

// For a least size where windows are not dynamic.
[[noreturn]] void refuse_window_min(const std::string& where);

// A Llama preset's sizes with GPT-2's habits: see preset() in config.h.
ModelConfig as_gpt2(ModelConfig preset);

}  // namespace assay::golden
