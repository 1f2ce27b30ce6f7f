// The keys of a Hugging Face config.json: of which class they are, which of them say what the
// model computes, and what transformers takes where they say it twice or not at all.
// Source: transformers 4.57 and 5, configuration_{llama,mistral,gpt2}.py, configuration_utils.py
// and modeling_rope_utils.py.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace assay::golden {

// The document in one spelling: rope_theta and rope_scaling at the top, no rope_parameters, GPT-2's
// extents by GPT-2's names, Mistral's window under "assay" as "window", its number of key/value
// heads filled in. Throws InputError "where: key: .." for a model of another class, for a key that
// is neither used nor known not to change the mathematics, and for a value that would change it.
//   * rope_scaling, if it holds anything, replaces rope_parameters; in what is left, its own
//     rope_theta counts before the one at the top.
//   * GPT-2's hidden_size, max_position_embeddings, num_attention_heads and num_hidden_layers count
//     before n_embd, n_positions, n_head and n_layer.
//   * null is an absent key, but for Mistral's sliding_window and num_key_value_heads, where it
//     says none and as many as heads, and absence 4096 and 8.
nlohmann::json settle_config(nlohmann::json document, const std::string& where);

}  // namespace assay::golden
