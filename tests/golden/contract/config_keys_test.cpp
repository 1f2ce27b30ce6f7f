// A config.json means here what it means to transformers, or it is refused by name.
#include "golden/contract/config_keys.h"

#include <boost/test/unit_test.hpp>
#include <functional>

#include "golden/contract/config.h"
#include "golden/contract/error.h"

namespace assay::golden {
namespace {

using nlohmann::json;
using Change = std::function<void(json&)>;

json llama() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_size", 48},
          {"intermediate_size", 80},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 6},
          {"vocab_size", 100}};
}

json mistral() {
  json document = llama();
  document["architectures"] = {"MistralForCausalLM"};
  document["model_type"] = "mistral";
  document["num_attention_heads"] = 8;
  document["head_dim"] = 6;
  return document;
}

json qwen(const char* type) {
  json document = llama();
  document.erase("architectures");
  document["model_type"] = type;
  document["num_hidden_layers"] = 4;
  document["num_key_value_heads"] = 3;
  return document;
}

json gpt2() {
  return {{"model_type", "gpt2"}, {"n_embd", 32},        {"n_layer", 3},
          {"n_head", 4},          {"n_positions", 1024}, {"vocab_size", 64}};
}

ModelConfig read(
    json document, const Change& change = [](json&) {}) {
  change(document);
  return parse_config(document.dump(), "c.json");
}

void check_refused(const json& document, const Change& change, const std::string& message) {
  BOOST_CHECK_EXCEPTION(read(document, change), InputError, [&](const InputError& error) {
    BOOST_TEST_MESSAGE(error.what());
    return std::string(error.what()).find(message) != std::string::npos;
  });
}

}  // namespace

BOOST_AUTO_TEST_CASE(missing_keys_have_the_default_of_the_class) {
  const ModelConfig c = read(llama());
  BOOST_TEST(c.rms_norm_eps == 1e-6);  // LlamaConfig's; 1e-5 stands in the files of Llama 2 and 3
  BOOST_TEST(c.rope_theta == 10000.0);
  BOOST_TEST(c.num_key_value_heads == 6);
  BOOST_TEST(!c.tie_word_embeddings);
  BOOST_TEST(c.window == 0);
  const ModelConfig m = read(mistral());
  BOOST_TEST(m.num_key_value_heads == 8);
  BOOST_TEST(m.window == 4096);
  BOOST_TEST(read(gpt2()).layer_norm_eps == 1e-5);
  BOOST_TEST(read(gpt2()).tie_word_embeddings);
}

BOOST_AUTO_TEST_CASE(a_sliding_window_is_read_for_the_class_that_has_one) {
  const auto window = [](json value) {
    return read(mistral(), [&](json& d) { d["sliding_window"] = value; }).window;
  };
  BOOST_TEST(window(7) == 7);
  BOOST_TEST(window(nullptr) == 0);
  check_refused(
      mistral(), [](json& d) { d["sliding_window"] = 0; },
      "c.json: sliding_window: expected a whole number of at least 1, or null for none");
  check_refused(
      llama(), [](json& d) { d["sliding_window"] = 7; },
      "c.json: sliding_window: expected none: LlamaForCausalLM has no window");
  BOOST_TEST(read(llama(), [](json& d) { d["sliding_window"] = nullptr; }).window == 0);
  check_refused(
      mistral(),
      [](json& d) {
        d["sliding_window"] = 7;
        d["assay"] = {{"window", 8}};
      },
      "c.json: sliding_window: expected 8 as under assay: window, got 7");
  check_refused(
      llama(),
      [](json& d) {
        d["layer_types"] = {"full_attention", "sliding_attention"};
      },
      "layer_types: expected \"full_attention\" for every layer, got \"sliding_attention\"");
  BOOST_TEST(read(llama(), [](json& d) { d["layer_types"] = {"full_attention"}; }).window == 0);
}

// Qwen2Config and Qwen3Config of transformers 4.57 and 5.24.
BOOST_AUTO_TEST_CASE(qwen_has_the_options_of_its_class) {
  const ModelConfig two = read(qwen("qwen2")), three = read(qwen("qwen3"));
  BOOST_TEST((two.attention_bias == AttentionBias::qkv));
  BOOST_TEST(!two.qk_norm);
  BOOST_TEST(two.head_dim == 8);  // hidden_size / num_attention_heads
  BOOST_TEST((three.attention_bias == AttentionBias::none));
  BOOST_TEST(three.qk_norm);
  BOOST_TEST(three.head_dim == 128);
  for (const ModelConfig& c : {two, three}) {
    BOOST_TEST(c.window == 0);
    BOOST_TEST(c.max_position_embeddings == 32768);
    BOOST_TEST(c.rms_norm_eps == 1e-6);
  }
  const auto defaults = [](const char* type) {
    return read(qwen(type),
                [](json& d) {
                  d.erase("num_key_value_heads");
                  d["num_attention_heads"] = 64;
                  d["head_dim"] = 4;
                })
        .num_key_value_heads;
  };
  BOOST_TEST(defaults("qwen2") == 32);
  BOOST_TEST(defaults("qwen3") == 32);
  BOOST_TEST(read(qwen("qwen2"), [](json& d) {
               d["num_key_value_heads"] = nullptr;
             }).num_key_value_heads == 6);
  // Whatever it says, Qwen2 has biases of q, k and v and none of o.
  const auto biased = [](json& d) { d["attention_bias"] = true; };
  BOOST_TEST((read(qwen("qwen2"), biased).attention_bias == AttentionBias::qkv));
  BOOST_TEST((read(qwen("qwen3"), biased).attention_bias == AttentionBias::all));
  BOOST_TEST((read(llama(), biased).attention_bias == AttentionBias::all));
  check_refused(mistral(), biased,
                "c.json: attention_bias: expected false: MistralForCausalLM has no biases");
  check_refused(
      qwen("qwen3"), [](json& d) { d["head_dim"] = nullptr; },
      "c.json: head_dim: expected a whole number, which Qwen3ForCausalLM needs");
  check_refused(
      qwen("qwen2"),
      [](json& d) {
        d["assay"] = {{"attention_bias", "all"}};
      },
      "c.json: model_type: expected \"all\" as under assay: attention_bias, got \"qwen2\"");
}

BOOST_AUTO_TEST_CASE(qwen_has_a_window_in_the_layers_that_say_so) {
  using Layers = std::vector<int64_t>;
  struct Row {
    json changes;
    int64_t window;
    Layers full;
  };
  const json all(4, "full_attention");
  json mixed = all;
  mixed[1] = "sliding_attention";
  for (const Row& row : std::initializer_list<Row>{
           {{{"sliding_window", 7}}, 0, {}},  // use_sliding_window is false
           {{{"sliding_window", nullptr}, {"use_sliding_window", true}}, 0, {}},
           {{{"use_sliding_window", true}}, 0, {}},  // max_window_layers is 28
           {{{"use_sliding_window", true}, {"max_window_layers", 2}}, 4096, {0, 1}},
           {{{"use_sliding_window", true}, {"sliding_window", 7}, {"max_window_layers", 0}}, 7, {}},
           {{{"use_sliding_window", true}, {"sliding_window", 7}, {"layer_types", mixed}},
            7,
            {0, 2, 3}},
           {{{"use_sliding_window", true}, {"sliding_window", 7}, {"layer_types", all}}, 0, {}},
           {{{"layer_types", all}}, 0, {}},
           {{{"layer_types", nullptr}, {"sliding_window", nullptr}}, 0, {}}}) {
    for (const char* type : {"qwen2", "qwen3"}) {
      const ModelConfig c = read(qwen(type), [&](json& d) { d.update(row.changes); });
      BOOST_TEST(c.window == row.window, row.changes);
      BOOST_TEST(c.full_layers == row.full, row.changes);
    }
  }
  const auto refused = [](const json& changes, const std::string& message) {
    check_refused(
        qwen("qwen2"), [&](json& d) { d.update(changes); }, message);
  };
  refused({{"layer_types", mixed}},
          "c.json: layer_types: expected \"full_attention\" for every layer, as there is no "
          "use_sliding_window with a sliding_window, got \"sliding_attention\"");
  refused({{"layer_types", {"full_attention"}}},
          "c.json: layer_types: expected a list of one type for each of 4 layers");
  refused({{"layer_types", json(4, "chunked_attention")}},
          "c.json: layer_types: expected \"full_attention\" or \"sliding_attention\"");
  refused({{"use_sliding_window", true}, {"sliding_window", 0}, {"max_window_layers", 0}},
          "c.json: sliding_window: expected a whole number of at least 1");
  refused({{"use_sliding_window", "yes"}}, "c.json: use_sliding_window: expected true or false");
}

// The files of models that people have, but for their sizes.
BOOST_AUTO_TEST_CASE(configs_of_published_models_are_read) {
  const auto qwen25 = [](json& d) {
    d.update(json{{"architectures", {"Qwen2ForCausalLM"}},
                  {"max_window_layers", 24},
                  {"use_mrope", false},
                  {"use_sliding_window", false},
                  {"sliding_window", 32768},
                  {"rope_theta", 1e6},
                  {"tie_word_embeddings", true},
                  {"torch_dtype", "bfloat16"}});
  };
  BOOST_TEST(read(qwen("qwen2"), qwen25).rope_theta == 1e6);
  const auto qwen3_of_5 = [](json& d) {
    d.update(json{{"architectures", {"Qwen3ForCausalLM"}},
                  {"dtype", "bfloat16"},
                  {"layer_types", json(4, "full_attention")},
                  {"max_window_layers", 28},
                  {"pad_token_id", nullptr},
                  {"use_sliding_window", false},
                  {"sliding_window", nullptr},
                  {"attention_bias", false},
                  {"head_dim", 128},
                  {"rope_parameters", {{"rope_theta", 1e6}, {"rope_type", "default"}}}});
  };
  BOOST_TEST(read(qwen("qwen3"), qwen3_of_5).rope_theta == 1e6);
  const auto yarn = [](json& d) {
    d["rope_scaling"] = {
        {"factor", 4.0}, {"original_max_position_embeddings", 32768}, {"type", "yarn"}};
  };
  check_refused(qwen("qwen2"), yarn, "rope_type: expected \"llama3\", got \"yarn\"");
  check_refused(
      qwen("qwen3"), [](json& d) { d["num_experts"] = 8; },
      "c.json: num_experts: no key of Qwen3ForCausalLM that is known here");
  check_refused(
      qwen("qwen2"), [](json& d) { d["use_mrope"] = true; }, "c.json: use_mrope: expected false");
}

// rope_scaling replaces rope_parameters, and the rope_theta inside counts before that at the top.
BOOST_AUTO_TEST_CASE(two_spellings_of_rotation_are_settled_as_transformers_does) {
  const auto theta = [](const Change& change) { return read(llama(), change).rope_theta; };
  BOOST_TEST(theta([](json& d) { d["rope_parameters"] = {{"rope_theta", 5e5}}; }) == 5e5);
  BOOST_TEST(theta([](json& d) {
               d["rope_theta"] = 1e6;
               d["rope_parameters"] = {{"rope_theta", 5e5}, {"rope_type", "default"}};
             }) == 5e5);
  BOOST_TEST(theta([](json& d) {
               d["rope_theta"] = 1e6;
               d["rope_parameters"] = {{"rope_type", "default"}};
             }) == 1e6);
  BOOST_TEST(theta([](json& d) {
               d["rope_scaling"] = {{"type", "default"}, {"rope_theta", 2e4}};
               d["rope_parameters"] = {{"rope_theta", 5e5}, {"rope_type", "yarn"}};
             }) == 2e4);
  BOOST_TEST(theta([](json& d) {
               d["rope_scaling"] = json::object();
               d["rope_parameters"] = {{"rope_theta", 5e5}};
             }) == 5e5);
  const ModelConfig scaled = read(llama(), [](json& d) {
    d["original_max_position_embeddings"] = 512;
    d["rope_parameters"] = {
        {"rope_type", "llama3"}, {"factor", 4}, {"low_freq_factor", 1}, {"high_freq_factor", 4}};
  });
  BOOST_TEST(scaled.rope_scaling.value().original_max_position_embeddings == 512);
  check_refused(
      llama(),
      [](json& d) {
        d["rope_parameters"] = {{"rope_type", "yarn"}};
      },
      "rope_type: expected \"llama3\", got \"yarn\"");
  check_refused(
      llama(),
      [](json& d) {
        d["rope_parameters"] = {{"full_attention", {{"rope_theta", 1e4}}}};
      },
      "c.json: rope_parameters: full_attention: no key of rope_type \"default\"");
  check_refused(
      llama(), [](json& d) { d["partial_rotary_factor"] = 0.5; },
      "partial_rotary_factor: expected 1, got 0.5");
}

BOOST_AUTO_TEST_CASE(a_model_of_another_class_is_refused_by_name) {
  for (const char* type :
       {"qwen2_moe", "qwen3_moe", "qwen2_vl", "ministral", "gemma", "gemma2", "phi3", "mixtral",
        "deepseek_v3", "olmo2", "starcoder2", "granite", "gpt_neox"}) {
    check_refused(
        llama(), [&](json& d) { d["model_type"] = type; },
        std::string("c.json: model_type: expected \"llama\", \"mistral\", \"qwen2\", "
                    "\"qwen3\" or \"gpt2\", got \"") +
            type + "\"");
  }
  check_refused(
      llama(), [](json& d) { d["architectures"] = {"Qwen2ForCausalLM"}; },
      "c.json: architectures: expected LlamaForCausalLM, LlamaModel, LLaMAForCausalLM, as "
      "of model_type \"llama\", got \"Qwen2ForCausalLM\"");
  check_refused(
      qwen("qwen2"), [](json& d) { d["architectures"] = {"Qwen2MoeForCausalLM"}; },
      "c.json: architectures: expected Qwen2ForCausalLM, Qwen2Model, as of model_type \"qwen2\", "
      "got \"Qwen2MoeForCausalLM\"");
  // Without model_type the class says it.
  check_refused(
      llama(),
      [](json& d) {
        d.erase("model_type");
        d["architectures"] = {"Gemma2ForCausalLM"};
      },
      "got \"Gemma2ForCausalLM\"");
  BOOST_TEST(read(mistral(), [](json& d) { d.erase("model_type"); }).window == 4096);
}

BOOST_AUTO_TEST_CASE(every_key_is_used_or_known_or_refused) {
  check_refused(
      llama(), [](json& d) { d["attn_logit_softcapping"] = 50.0; },
      "c.json: attn_logit_softcapping: no key of LlamaForCausalLM that is known here");
  check_refused(
      llama(),
      [](json& d) {
        d["quantization_config"] = {{"bits", 4}};
      },
      "quantization_config: expected null: quantised weights are not read");
  check_refused(
      llama(),
      [](json& d) {
        d["auto_map"] = {{"AutoModel", "m.M"}};
      },
      "auto_map: ");
  check_refused(
      llama(), [](json& d) { d["n_embd"] = 4; }, "c.json: n_embd: no key of Llama");
  check_refused(
      gpt2(), [](json& d) { d["rope_theta"] = 4; }, "c.json: rope_theta: no key of GPT2");
  check_refused(
      gpt2(), [](json& d) { d["scale_attn_by_inverse_layer_idx"] = true; },
      "scale_attn_by_inverse_layer_idx: ");
  // What save_pretrained writes beside them changes nothing.
  const std::string plain = to_json(read(llama()));
  const ModelConfig full = read(llama(), [](json& d) {
    d["attention_dropout"] = 0.1;
    d["bos_token_id"] = 1;
    d["eos_token_id"] = {2, 3};
    d["dtype"] = "bfloat16";
    d["initializer_range"] = 0.02;
    d["pretraining_tp"] = 1;
    d["transformers_version"] = "5.0.0";
    d["use_cache"] = true;
    d["hidden_act"] = "swish";  // another name of silu
    d["quantization_config"] = nullptr;
  });
  BOOST_TEST(to_json(full) == plain);
}

BOOST_AUTO_TEST_CASE(other_names_of_gpt2_extents_count_first) {
  BOOST_TEST(read(gpt2(), [](json& d) { d["hidden_size"] = 64; }).hidden_size == 64);
  const ModelConfig c = read(gpt2(), [](json& d) {
    d.erase("n_layer");
    d["num_hidden_layers"] = 2;
  });
  BOOST_TEST(c.num_hidden_layers == 2);
}

BOOST_AUTO_TEST_CASE(numbers_that_only_python_writes_are_named) {
  BOOST_CHECK_EXCEPTION(parse_config("{\"rope_theta\": Infinity}", "c.json"), InputError,
                        [](const InputError& error) {
                          return std::string(error.what()).find("Infinity, which Python writes") !=
                                 std::string::npos;
                        });
}

}  // namespace assay::golden
