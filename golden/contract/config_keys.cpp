#include "golden/contract/config_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "golden/contract/error.h"
#include "golden/contract/json_keys.h"
#include "golden/contract/names.h"

namespace assay::golden {
namespace {

using nlohmann::json;
using Names = std::vector<std::string_view>;

// What a class of transformers reads, beyond what every class has.
struct ModelClass {
  const char* type;  // "model_type"
  Names names;       // of classes, in "architectures", whose forward pass ours is
  Names used;        // keys that say what is computed; read or checked here, or by the block
  Names irrelevant;  // keys that do not change a forward pass, nor its gradients
  json defaults;     // of keys that are absent, where they are not those of Llama
};

const std::vector<ModelClass>& classes() {
  static const Names kLlamaKeys{"hidden_size",
                                "intermediate_size",
                                "num_hidden_layers",
                                "num_attention_heads",
                                "num_key_value_heads",
                                "head_dim",
                                "vocab_size",
                                "max_position_embeddings",
                                "rms_norm_eps",
                                "rope_theta",
                                "rope_scaling",
                                "tie_word_embeddings",
                                "mlp_bias",
                                "hidden_act"};
  // pretraining_tp splits products, which rounds them differently.
  static const Names kLlamaOther{"attention_dropout", "initializer_range", "pretraining_tp"};
  const json qwen{{"num_key_value_heads", 32},
                  {"max_position_embeddings", 32768},
                  {"use_sliding_window", false},
                  {"sliding_window", 4096},
                  {"max_window_layers", 28}};
  json qwen3 = qwen;
  qwen3["head_dim"] = 128;
  static const std::vector<ModelClass> kClasses{
      {"llama",
       {"LlamaForCausalLM", "LlamaModel", "LLaMAForCausalLM"},
       kLlamaKeys,
       kLlamaOther,
       json::object()},
      {"mistral",
       {"MistralForCausalLM", "MistralModel"},
       kLlamaKeys,
       kLlamaOther,
       {{"num_key_value_heads", 8}, {"max_position_embeddings", 131072}, {"sliding_window", 4096}}},
      {"qwen2", {"Qwen2ForCausalLM", "Qwen2Model"}, kLlamaKeys, kLlamaOther, qwen},
      {"qwen3", {"Qwen3ForCausalLM", "Qwen3Model"}, kLlamaKeys, kLlamaOther, qwen3},
      // n_ctx is an old name of n_positions that nothing reads; reorder_and_upcast_attn rounds
      // differently.
      {"gpt2",
       {"GPT2LMHeadModel", "GPT2Model"},
       {"n_embd", "n_inner", "n_layer", "n_head", "n_positions", "vocab_size", "layer_norm_epsilon",
        "activation_function", "tie_word_embeddings", "scale_attn_weights",
        "scale_attn_by_inverse_layer_idx", "add_cross_attention"},
       {"n_ctx", "attn_pdrop", "embd_pdrop", "resid_pdrop", "initializer_range",
        "reorder_and_upcast_attn", "summary_type", "summary_use_proj", "summary_activation",
        "summary_proj_to_labels", "summary_first_dropout", "gradient_checkpointing"},
       json::object()}};
  return kClasses;
}

// Of every class: how a model is stored, trained, run and sampled from, not what it computes.
constexpr std::string_view kIrrelevant =
    "_attn_implementation _attn_implementation_autoset _commit_hash _flash_attn_2_enabled "
    "_name_or_path _num_labels architectures assay attn_implementation bad_words_ids "
    "begin_suppress_tokens bos_token_id chunk_size_feed_forward cross_attention_hidden_size "
    "decoder_start_token_id diversity_penalty do_sample dtype early_stopping "
    "encoder_no_repeat_ngram_size eos_token_id exponential_decay_length_penalty "
    "finetuning_task forced_bos_token_id forced_eos_token_id id2label is_decoder "
    "is_encoder_decoder keys_to_ignore_at_inference label2id length_penalty max_length "
    "min_length model_type no_repeat_ngram_size num_beam_groups num_beams num_labels "
    "num_return_sequences output_attentions output_hidden_states output_scores pad_token_id "
    "prefix problem_type remove_invalid_values repetition_penalty return_dict "
    "return_dict_in_generate sep_token_id suppress_tokens task_specific_params temperature "
    "tf_legacy_loss tie_encoder_decoder tokenizer_class top_k top_p torch_dtype torchscript "
    "transformers_version typical_p use_bfloat16 use_cache";

bool is_irrelevant(std::string_view name) {
  return name.find(' ') == name.npos &&
         fmt::format(" {} ", kIrrelevant).find(fmt::format(" {} ", name)) != std::string::npos;
}

bool holds(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string shown(const json& value) {
  return printable(value.dump(-1, ' ', false, json::error_handler_t::replace));
}

[[noreturn]] void refuse(const std::string& where, const std::string& key,
                         const std::string& expected, const json& got) {
  throw InputError(fmt::format("{}: {}: expected {}, got {}", where, key, expected, shown(got)));
}

bool has(const json& document, const char* key) {
  return document.contains(key) && !document[key].is_null();
}

// The class by model_type, else by architectures, else Llama, which has to have all extents.
const ModelClass& class_of(const json& document, const std::string& where) {
  const json type = document.value("model_type", json());
  const json named = document.value("architectures", json());
  if (!type.is_null() && !type.is_string()) refuse(where, "model_type", "a string", type);
  const ModelClass* found = type.is_null() ? &classes().front() : nullptr;
  for (const ModelClass& c : classes()) {
    if (type == c.type) found = &c;
  }
  if (found == nullptr) {
    refuse(where, "model_type", "\"llama\", \"mistral\", \"qwen2\", \"qwen3\" or \"gpt2\"",
           json(type));  // what it computes may differ
  }
  if (named.is_null()) return *found;
  if (!named.is_array()) refuse(where, "architectures", "a list of names of classes", named);
  for (const json& name : named) {
    if (name == "AssayForCausalLM") continue;  // of an exported model that no class computes
    const ModelClass* match = nullptr;
    for (const ModelClass& c : classes()) {
      if (name.is_string() && holds(c.names, name.get_ref<const std::string&>())) match = &c;
    }
    if (match != nullptr && type.is_null()) found = match;
    if (match != found) {
      refuse(where, "architectures",
             fmt::format("{}, as of model_type \"{}\"", fmt::join(found->names, ", "), found->type),
             name);
    }
  }
  return *found;
}

// Keys with one value that changes nothing; every other is refused with the reason.
struct OnlyValue {
  const char* key;
  json value;
  const char* reason;
};

void require_known(const json& document, const ModelClass& c, const std::string& where) {
  static const std::vector<OnlyValue> kOnly{
      {"quantization_config", nullptr, "null: quantised weights are not read"},
      {"auto_map", nullptr, "null: code of its own may compute anything"},
      {"use_sliding_window", false, "false"},
      {"use_mrope", false, "false: positions of several axes are not read"},
      {"pruned_heads", json::object(), "none: heads are not left out here"},
      {"layer_types", nullptr, "\"full_attention\" for every layer"}};
  for (const auto& [key, value] : document.items()) {
    if (value.is_null() || holds(c.used, key) || holds(c.irrelevant, key) || is_irrelevant(key)) {
      continue;
    }
    for (const OnlyValue& only : kOnly) {
      if (key == only.key && value != only.value) refuse(where, key, only.reason, value);
    }
    const auto is_known = [&, name = key](const OnlyValue& only) { return name == only.key; };
    if (std::any_of(kOnly.begin(), kOnly.end(), is_known)) continue;
    throw InputError(fmt::format(
        "{}: {}: no key of {} that is known here, and it may change what is computed; remove it if "
        "it does not",
        where, printable(key), c.names.front()));
  }
}

// Leaves rope_theta and rope_scaling, the latter absent for no scaling.
void settle_rope(json& document, const std::string& where) {
  json rope = json::object();
  const char* from = "rope_parameters";
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    if (!has(document, key) || document[key].empty()) continue;
    if (!document[key].is_object()) refuse(where, key, "an object", document[key]);
    rope = document[key];
    from = key;
  }
  if (!rope.contains("partial_rotary_factor") && has(document, "partial_rotary_factor")) {
    rope["partial_rotary_factor"] = document["partial_rotary_factor"];
  }
  if (has(rope, "partial_rotary_factor") && rope["partial_rotary_factor"] != json(1)) {
    refuse(where, "partial_rotary_factor", "1", rope["partial_rotary_factor"]);
  }
  if (has(rope, "rope_theta")) document["rope_theta"] = rope["rope_theta"];
  const json kind =
      has(rope, "rope_type") ? rope["rope_type"] : rope.value("type", json("default"));
  static const Names kKeys{"rope_theta",
                           "rope_type",
                           "type",
                           "partial_rotary_factor",
                           "factor",
                           "low_freq_factor",
                           "high_freq_factor",
                           "original_max_position_embeddings"};
  for (const auto& [key, value] : rope.items()) {
    if (value.is_null() || holds(kKeys, key) || (kind != "default" && kind != "llama3")) continue;
    throw InputError(fmt::format("{}: {}: {}: no key of rope_type {} that is known here", where,
                                 from, printable(key), shown(kind)));
  }
  document.erase("rope_parameters");
  document.erase("partial_rotary_factor");
  document["rope_scaling"] = nullptr;
  if (kind == "default" || kind.is_null()) return;
  const char* original = "original_max_position_embeddings";
  if (!has(rope, original) && has(document, original)) rope[original] = document[original];
  rope["rope_type"] = kind;
  document["rope_scaling"] = std::move(rope);
}

// "assay": what the class says under a name of our own; what stands there already has to agree.
void settle_own(json& document, const char* key, const json& value, const char* from,
                const json& got, const std::string& where) {
  if (!has(document, "assay")) document["assay"] = json::object();
  json& own = document["assay"];
  if (!own.is_object()) return;  // refused where it is read
  if (has(own, key) && own[key] != value) {
    refuse(where, from, fmt::format("{} as under assay: {}", shown(own[key]), key), got);
  }
  own[key] = value;
}

json own_option(const json& document, const char* key) {
  const json own = document.value("assay", json());
  return own.is_object() ? own.value(key, json()) : json();
}

// What a class does to its layers: those that have the window.
struct Windows {
  json window;                // a number, or null where no layer has one
  std::vector<int64_t> full;  // the layers without it
};

void require_window(const json& window, const std::string& where) {
  if (!window.is_number_integer() || window < json(1)) {
    refuse(where, "sliding_window", "a whole number of at least 1, or null for none", window);
  }
}

// Mistral has its window in every layer, Llama has none.
Windows uniform_window(const json& document, const ModelClass& c, const std::string& where) {
  const bool mistral = c.type == std::string("mistral");
  const json window = document.value("sliding_window", json());
  if (const json types = document.value("layer_types", json()); types.is_array()) {
    const json all = mistral && !window.is_null() ? "sliding_attention" : "full_attention";
    for (const json& type : types) {
      if (type != all) refuse(where, "layer_types", all.dump() + " for every layer", type);
    }
  }
  if (window.is_null()) return {};
  if (!mistral) {
    refuse(where, "sliding_window",
           fmt::format("none: {} has no window; \"model_type\": \"mistral\" has one, and "
                       "\"assay\": {{\"window\": ..}} sets one",
                       c.names.front()),
           window);
  }
  require_window(window, where);
  return {window, {}};
}

// Qwen2 and Qwen3: use_sliding_window says whether there is one, layer_types in which layers;
// without layer_types it is in those from max_window_layers on.
Windows layer_windows(const json& document, const std::string& where) {
  const JsonKeys keys(document, where);
  const bool used = keys.boolean("use_sliding_window", false) && keys.has("sliding_window");
  const int64_t layers = keys.integer("num_hidden_layers");
  const int64_t from = keys.integer("max_window_layers", 0);
  Windows windows;
  if (used) windows.window = document["sliding_window"];
  if (!keys.has("layer_types")) {
    for (int64_t l = 0; l < std::min(from, std::min(layers, kMostLayers)); ++l) {
      windows.full.push_back(l);
    }
  } else {
    const json& types = document["layer_types"];
    if (!types.is_array() || types.size() != static_cast<std::size_t>(layers)) {
      refuse(where, "layer_types", fmt::format("a list of one type for each of {} layers", layers),
             types);
    }
    for (std::size_t l = 0; l < types.size(); ++l) {
      const bool slides = types[l] == "sliding_attention";
      if (!slides && types[l] != "full_attention") {
        refuse(where, "layer_types", "\"full_attention\" or \"sliding_attention\"", types[l]);
      }
      if (slides && !used) {
        refuse(where, "layer_types",
               "\"full_attention\" for every layer, as there is no use_sliding_window with a "
               "sliding_window",
               types[l]);
      }
      if (!slides) windows.full.push_back(static_cast<int64_t>(l));
    }
  }
  if (static_cast<int64_t>(windows.full.size()) >= layers) return {};
  if (used) require_window(windows.window, where);
  return used ? windows : Windows{};
}

void settle_windows(json& document, const ModelClass& c, const std::string& where) {
  const bool qwen = std::string_view(c.type).starts_with("qwen");
  const Windows windows =
      qwen ? layer_windows(document, where) : uniform_window(document, c, where);
  if (!windows.window.is_null()) {
    const json got = document["sliding_window"];
    settle_own(document, "window", windows.window, "sliding_window", got, where);
    if (!windows.full.empty() || (qwen && has(document["assay"], "full_layers"))) {
      settle_own(document, "full_layers", windows.full, "layer_types",
                 document.value("layer_types", json()), where);
    }
  }
  document.erase("sliding_window");
  if (document.contains("layer_types") && document["layer_types"].is_array()) {
    document.erase("layer_types");
  }
  if (!qwen) return;
  document.erase("use_sliding_window");
  document.erase("max_window_layers");
}

// Biases and norms of q, k and v, by the class; Qwen2 has the former whatever its config says.
void settle_projections(json& document, const ModelClass& c, const std::string& where) {
  const std::string_view type = c.type;
  const JsonKeys keys(document, where);
  const bool biased = keys.boolean("attention_bias", false);
  const json got = document.value("attention_bias", json());
  document.erase("attention_bias");
  if (type == "qwen2") {
    settle_own(document, "attention_bias", "qkv", "model_type", "qwen2", where);
  } else if (biased && type == "mistral") {
    refuse(where, "attention_bias", "false: MistralForCausalLM has no biases", got);
  } else if (biased) {
    settle_own(document, "attention_bias", "all", "attention_bias", got, where);
  } else if (got == false && own_option(document, "attention_bias") == "all") {
    refuse(where, "attention_bias", "true as under assay: attention_bias", got);
  }
  if (type == "qwen3") settle_own(document, "qk_norm", true, "model_type", "qwen3", where);
}

// Absent keys, but for extents.
void fill_in(json& document, const ModelClass& c, const std::string& where) {
  for (const auto& [key, value] : c.defaults.items()) {
    if (!document.contains(key)) document[key] = value;
  }
  if (c.type == std::string("qwen3") && document["head_dim"].is_null()) {
    refuse(where, "head_dim", "a whole number, which Qwen3ForCausalLM needs; absent it is 128",
           document["head_dim"]);
  }
}

void settle_gpt2(json& document) {
  struct Alias {
    const char* name;
    const char* own;
  };
  for (const auto& [name, own] : {Alias{"hidden_size", "n_embd"},
                                  {"max_position_embeddings", "n_positions"},
                                  {"num_attention_heads", "n_head"},
                                  {"num_hidden_layers", "n_layer"}}) {
    if (has(document, name)) document[own] = document[name];
    document.erase(name);
  }
}

}  // namespace

json settle_config(json document, const std::string& where) {
  if (!document.is_object()) throw InputError(where + ": expected a JSON object");
  const ModelClass& c = class_of(document, where);
  if (c.type == std::string("gpt2")) {
    settle_gpt2(document);
    document["model_type"] = "gpt2";
  } else {
    const char* original = "original_max_position_embeddings";
    fill_in(document, c, where);
    settle_rope(document, where);
    settle_windows(document, c, where);
    settle_projections(document, c, where);
    document.erase(original);
  }
  require_known(document, c, where);
  return document;
}

}  // namespace assay::golden
