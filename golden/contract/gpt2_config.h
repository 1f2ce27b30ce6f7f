// The GPT-2 part of a config: the keys of Hugging Face's GPT2Config.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "golden/contract/config.h"
#include "golden/contract/json_keys.h"

namespace assay::golden {

// Everything but the method. Throws InputError for what changes the mathematics in a way that the
// GPT-2 block here does not have: scale_attn_weights false, scale_attn_by_inverse_layer_idx,
// add_cross_attention, another activation_function. The keys are settled (config_keys.h).
ModelConfig parse_gpt2(const JsonKeys& keys);

// Canonical; gelu_pytorch_tanh is gelu_new, n_inner is never null.
nlohmann::json gpt2_json(const ModelConfig& config);

void validate_gpt2(const ModelConfig& config, const std::string& where);

// A Llama preset's sizes with GPT-2's habits: see preset() in config.h.
ModelConfig as_gpt2(ModelConfig preset);

}  // namespace assay::golden
