// The keys of a Hugging Face config.json: of which class they are, which of them say what the
// model computes, and what transformers takes where they say it twice or not at all.
// Source: transformers 4.57 and 5, configuration_{llama,mistral,qwen2,
// qwen3,gpt2}.py, configuration_utils.py
// and modeling_rope_utils.py.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace assay::golden {

// "model_type" names the class: llama, mistral (a Llama with a window), qwen2 (with biases of q, k
// and v), qwen3 (with norms of q and k) or gpt2; without one "architectures" does, and without both
// it is a Llama. A missing key has the class's default, but for extents, which have to be there.

// The document in one spelling: rope_theta and rope_scaling at the top, no rope_parameters, GPT-2's
// extents by GPT-2's names, a class's window, the layers without it, its biases and its norms of q
// and k under "assay" as "window", "full_layers", "attention_bias" and "qk_norm", the class's
// defaults filled in. Throws InputError "where: key: .." for a model of another class, for a key
// that is neither used nor known not to change the mathematics, and for a value that would change
// it.
//   * rope_scaling, if it holds anything, replaces rope_parameters; in what is left, its own
//     rope_theta counts before the one at the top.
//   * GPT-2's hidden_size, max_position_embeddings, num_attention_heads and num_hidden_layers count
//     before n_embd, n_positions, n_head and n_layer.
//   * Qwen2 and Qwen3 have a window where use_sliding_window and sliding_window say so: in the
//     layers that layer_types says, without it in those from max_window_layers on.
//   * null is an absent key, but where the class has a default of its own: sliding_window null is
//     no window, num_key_value_heads null as many as heads.
nlohmann::json settle_config(nlohmann::json document, const std::string& where);

}  // namespace assay::golden
