// Configs: read from a Hugging Face config.json, refused with the file and the key, written in one
// canonical form.
#include "golden/contract/config.h"

#include <boost/test/unit_test.hpp>
#include <functional>
#include <nlohmann/json.hpp>

#include "golden/contract/error.h"
#include "golden/contract/methods.h"

namespace assay::golden {
namespace {

using nlohmann::json;

json llama() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"torch_dtype", "bfloat16"},
          {"hidden_size", 48},
          {"intermediate_size", 80},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 6},
          {"num_key_value_heads", 3},
          {"vocab_size", 100},
          {"rms_norm_eps", 1e-6},
          {"rope_theta", 500000.0}};
}

void check_refused(const std::string& text, const std::string& message) {
  BOOST_CHECK_EXCEPTION(parse_config(text, "config.json"), InputError,
                        [&](const InputError& error) {
                          BOOST_TEST_MESSAGE(error.what());
                          return std::string(error.what()).find(message) != std::string::npos;
                        });
}

// As the model hub has it: GPT-2 of 124M parameters.
json gpt2() {
  return {{"architectures", {"GPT2LMHeadModel"}},
          {"model_type", "gpt2"},
          {"activation_function", "gelu_new"},
          {"attn_pdrop", 0.1},
          {"embd_pdrop", 0.1},
          {"resid_pdrop", 0.1},
          {"n_ctx", 1024},
          {"n_embd", 768},
          {"n_head", 12},
          {"n_layer", 12},
          {"n_positions", 1024},
          {"n_inner", nullptr},
          {"layer_norm_epsilon", 1e-05},
          {"reorder_and_upcast_attn", false},
          {"scale_attn_weights", true},
          {"vocab_size", 50257}};
}

void check_gpt2_refused(const std::function<void(json&)>& spoil, const std::string& message) {
  json document = gpt2();
  spoil(document);
  check_refused(document.dump(), message);
}

void check_refused(const std::function<void(json&)>& spoil, const std::string& message) {
  json document = llama();
  spoil(document);
  check_refused(document.dump(), message);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_hugging_face_config_is_read) {
  const ModelConfig c = parse_config(llama().dump(), "config.json");
  BOOST_TEST(c.hidden_size == 48);
  BOOST_TEST(c.intermediate_size == 80);
  BOOST_TEST(c.num_hidden_layers == 2);
  BOOST_TEST(c.num_attention_heads == 6);
  BOOST_TEST(c.num_key_value_heads == 3);
  BOOST_TEST(c.head_dim == 8);  // hidden_size / num_attention_heads
  BOOST_TEST(c.vocab_size == 100);
  BOOST_TEST(c.rms_norm_eps == 1e-6);
  BOOST_TEST(c.rope_theta == 500000.0);
  BOOST_TEST(!c.rope_scaling.has_value());
  BOOST_TEST(!c.tie_word_embeddings);
  BOOST_TEST(c.method == "plain");
}

BOOST_AUTO_TEST_CASE(a_gpt2_config_is_read) {
  const ModelConfig c = parse_config(gpt2().dump(), "config.json");
  BOOST_TEST((c.block == BlockKind::gpt2));
  BOOST_TEST(c.hidden_size == 768);
  BOOST_TEST(c.intermediate_size == 4 * 768);  // n_inner null
  BOOST_TEST(c.num_hidden_layers == 12);
  BOOST_TEST(c.num_attention_heads == 12);
  BOOST_TEST(c.num_key_value_heads == 12);
  BOOST_TEST(c.head_dim == 64);
  BOOST_TEST(c.max_position_embeddings == 1024);
  BOOST_TEST(c.vocab_size == 50257);
  BOOST_TEST(c.layer_norm_eps == 1e-5);
  BOOST_TEST((c.activation == Activation::gelu_new));
  BOOST_TEST((c.norm == NormPosition::pre));
  BOOST_TEST(c.tie_word_embeddings);
}

// The two names of the tanh form are one function.
BOOST_AUTO_TEST_CASE(gelu_forms_of_a_gpt2_config_are_told_apart) {
  const auto activation = [](const char* name) {
    json document = gpt2();
    document["activation_function"] = name;
    return parse_config(document.dump(), "config.json").activation;
  };
  BOOST_TEST((activation("gelu_new") == Activation::gelu_new));
  BOOST_TEST((activation("gelu_pytorch_tanh") == Activation::gelu_new));
  BOOST_TEST((activation("gelu") == Activation::gelu));
}

BOOST_AUTO_TEST_CASE(what_a_gpt2_config_has_no_keys_for_stands_under_assay) {
  json document = gpt2();
  document["assay"] = {
      {"norm", "post"}, {"num_key_value_heads", 4}, {"head_dim", 32}, {"method", "5.1"}};
  const ModelConfig c = parse_config(document.dump(), "config.json");
  BOOST_TEST((c.norm == NormPosition::post));
  BOOST_TEST(c.num_key_value_heads == 4);
  BOOST_TEST(c.head_dim == 32);
  BOOST_TEST(c.method == "5.1");
}

BOOST_AUTO_TEST_CASE(canonical_json_of_gpt2_is_a_fixed_point) {
  for (const std::string& name : preset_names()) {
    ModelConfig config = preset(name, BlockKind::gpt2);
    BOOST_TEST(config.num_key_value_heads == config.num_attention_heads);
    BOOST_TEST(config.intermediate_size == 4 * config.hidden_size);
    BOOST_TEST(config.tie_word_embeddings);
    config.method = "1";
    config.residual = Residual::replace;
    config.norm = NormPosition::post;
    config.activation = Activation::gelu;
    config.num_key_value_heads = 1;
    config.head_dim += 3;  // odd: nothing is turned here
    config.layer_norm_eps = 1e-6;
    config.tie_word_embeddings = false;
    const ModelConfig again = parse_config(to_json(config), name);
    BOOST_TEST(to_json(again) == to_json(config));
    BOOST_TEST((again.norm == NormPosition::post));
    BOOST_TEST((again.activation == Activation::gelu));
    BOOST_TEST(again.num_key_value_heads == 1);
    BOOST_TEST(again.head_dim == config.head_dim);
    BOOST_TEST(again.layer_norm_eps == 1e-6);
    BOOST_TEST(!again.tie_word_embeddings);
  }
}

BOOST_AUTO_TEST_CASE(what_changes_the_mathematics_of_gpt2_is_refused) {
  const auto refused = [](const char* key, const json& value, const std::string& message) {
    check_gpt2_refused([&](json& d) { d[key] = value; }, message);
  };
  refused("scale_attn_weights", false,
          "config.json: scale_attn_weights: the GPT-2 block here has none of it: expected true, "
          "got false");
  refused("scale_attn_by_inverse_layer_idx", true, "scale_attn_by_inverse_layer_idx: ");
  refused("add_cross_attention", true, "add_cross_attention: ");
  refused("activation_function", "relu",
          "activation_function: expected \"gelu_new\", \"gelu_pytorch_tanh\" or \"gelu\", got "
          "\"relu\"");
  refused("n_head", 7, "config.json: n_head: expected a divisor of n_embd = 768, got 7");
  refused("layer_norm_epsilon", 0, "layer_norm_epsilon: expected > 0, got 0");
  refused("n_embd", nullptr, "key \"n_embd\" is missing");
  refused("assay", {{"norm", "sandwich"}},
          "config.json: assay: norm: expected pre or post, got \"sandwich\"");
  refused("assay", {{"num_key_value_heads", 5}}, "expected a divisor of num_attention_heads = 12");
}

BOOST_AUTO_TEST_CASE(the_llama_block_is_pre_norm) {
  ModelConfig config = preset("tiny");
  config.norm = NormPosition::post;
  BOOST_CHECK_EXCEPTION(validate(config, "config"), InputError, [](const InputError& error) {
    return error.what() ==
           std::string("config: norm: the Llama block is pre-norm: expected pre, got post");
  });
}

BOOST_AUTO_TEST_CASE(a_block_that_is_not_there_lists_those_that_are) {
  for (const BlockKind block : {BlockKind::llama, BlockKind::gpt2}) {
    BOOST_TEST((parse_block_name(block_name(block), "--block") == block));
  }
  BOOST_CHECK_EXCEPTION(
      parse_block_name("mamba", "--block"), InputError, [](const InputError& error) {
        return error.what() == std::string("--block mamba: no such block; have llama, gpt2");
      });
}

BOOST_AUTO_TEST_CASE(absent_key_value_heads_are_the_heads) {
  json document = llama();
  document.erase("num_key_value_heads");
  BOOST_TEST(parse_config(document.dump(), "config.json").num_key_value_heads == 6);
}

BOOST_AUTO_TEST_CASE(canonical_json_is_a_fixed_point) {
  for (const std::string& name : preset_names()) {
    ModelConfig config = preset(name);
    config.method = "1";
    config.residual = Residual::replace;
    config.rope_scaling = RopeScaling{.factor = 4.0};
    const std::string text = to_json(config);
    const ModelConfig again = parse_config(text, name);
    BOOST_TEST(to_json(again) == text);
    BOOST_TEST(again.rope_scaling->factor == 4.0);
    BOOST_TEST((again.residual == Residual::replace));
  }
}

BOOST_AUTO_TEST_CASE(canonical_json_is_a_fixed_point_for_every_method_and_form) {
  for (const MethodInfo& method : methods()) {
    for (std::string form : method.forms.empty() ? std::vector<std::string>{""} : method.forms) {
      ModelConfig config = preset("tiny");
      config.method = method.id;
      config.form = form;
      config.params = Params::initial;
      if (method.takes("detach_stored")) config.detach_stored = true;
      if (method.takes("score_gate_eps")) config.score_gate_eps = 1e-6;
      if (method.takes("score_positions")) config.score_positions = 9;
      const ModelConfig again = parse_config(to_json(config), method.id);
      BOOST_TEST(to_json(again) == to_json(config));
      BOOST_TEST(again.method == method.id);
      BOOST_TEST(again.form == form);
      BOOST_TEST((again.params == Params::initial));
      BOOST_TEST(again.detach_stored == config.detach_stored);
      BOOST_TEST(again.score_gate_eps == config.score_gate_eps);
      BOOST_TEST(again.score_positions == config.score_positions);
    }
  }
}

// What a golden file is found by: a default that is stated and one that is not are one model.
BOOST_AUTO_TEST_CASE(a_stated_default_gives_the_same_text) {
  ModelConfig config = preset("tiny"), stated = config;
  config.method = stated.method = "5.6";
  stated.form = "free";
  BOOST_TEST(to_json(stated) == to_json(config));
  config.method = stated.method = "5.1A";
  stated.form = "";
  stated.score_positions = stated.max_position_embeddings;
  BOOST_TEST(to_json(stated) == to_json(config));
}

// Hashes of files that are already there rest on this text.
BOOST_AUTO_TEST_CASE(methods_without_options_of_their_own_write_method_and_residual_only) {
  for (const char* method : {"plain", "1", "5.1"}) {
    ModelConfig config = preset("tiny");
    config.method = method;
    BOOST_TEST(json::parse(to_json(config))["assay"] ==
               (json{{"method", method}, {"residual", "keep"}}));
  }
}

// Only where they are set: the texts of models without them stay as they are.
BOOST_AUTO_TEST_CASE(a_window_and_its_sinks_are_read_and_written) {
  for (const BlockKind block : {BlockKind::llama, BlockKind::gpt2}) {
    ModelConfig config = preset("tiny", block);
    const std::string without = to_json(config);
    BOOST_TEST(without.find("window") == std::string::npos);
    config.window = 5;
    const ModelConfig windowed = parse_config(to_json(config), "again");
    BOOST_TEST(windowed.window == 5);
    BOOST_TEST(windowed.sink_tokens == 0);
    BOOST_TEST(to_json(config).find("sink") == std::string::npos);
    config.sink_tokens = 2;
    const ModelConfig with_sinks = parse_config(to_json(config), "again");
    BOOST_TEST(with_sinks.sink_tokens == 2);
    BOOST_TEST(to_json(with_sinks) == to_json(config));
    config.window = config.sink_tokens = 0;
    BOOST_TEST(to_json(config) == without);
  }
}

// It sees later positions: a leak in a model that has to be causal.
BOOST_AUTO_TEST_CASE(a_centred_window_is_of_bidirectional_models_alone) {
  ModelConfig config = preset("tiny");
  config.method = "pt";
  config.window = 5;
  config.window_kind = WindowKind::centred;
  const ModelConfig again = parse_config(to_json(config), "again");
  BOOST_TEST((again.window_kind == WindowKind::centred));
  BOOST_TEST(again.window == 5);
  const auto refused = [](const ModelConfig& c, const std::string& reason) {
    try {
      validate(c, "options");
    } catch (const InputError& error) {
      BOOST_TEST(std::string(error.what()).find(reason) != std::string::npos, error.what());
      return;
    }
    BOOST_ERROR("expected a refusal: " + reason);
  };
  for (const char* method : {"plain", "1", "5.1", "5.1E"}) {
    ModelConfig causal = preset("tiny");
    causal.method = method;
    causal.window = 5;
    causal.window_kind = WindowKind::centred;
    refused(causal, "window_kind: a centred window sees later positions: expected fixed");
    causal.window = 0;
    refused(causal, "sees later positions");
  }
  ModelConfig heads = config;
  heads.pt.message = ProbTransformer::Message::head;
  heads.pt.causal_heads = true;
  refused(heads, "which pt with causal_heads is");
  ModelConfig none = config;
  none.window = 0;
  refused(none, "expected a window that is centred");
  ModelConfig sinks = config;
  sinks.sink_tokens = 2;
  refused(sinks, "sink_tokens: expected none with a centred window");
}

BOOST_AUTO_TEST_CASE(a_window_that_makes_no_sense_is_refused) {
  const auto refused = [](json options, const std::string& message) {
    check_refused([&](json& d) { d["assay"] = options; }, message);
  };
  refused({{"window", -1}},
          "config.json: window: expected 1 .. 2^31, or 0 for every earlier position, got -1");
  refused({{"window", 4}, {"sink_tokens", -2}},
          "config.json: sink_tokens: expected 1 .. 2^31, or 0 for none, got -2");
  refused({{"sink_tokens", 3}},
          "config.json: sink_tokens: expected 0 without a window, which hides none of them, got 3");
  refused({{"window", 2.5}}, "config.json: assay: window: expected a whole number, got 2.5");
  refused({{"method", "pt"}, {"window", 4}},
          "config.json: window: method pt has no attention to narrow: expected 0, got 4");
  refused({{"window", 4}, {"window_kind", "round"}},
          "window_kind: expected fixed, centred or dynamic, got \"round\"");
}

BOOST_AUTO_TEST_CASE(an_option_that_the_method_does_not_take_is_refused) {
  const auto refused = [](json options, const std::string& message) {
    check_refused([&](json& d) { d["assay"] = options; }, message);
  };
  refused({{"method", "5.1"}, {"residual", "replace"}},
          "config.json: residual: method 5.1 has no such option; it has none");
  refused({{"method", "5.5"}, {"detach_stored", false}},
          "config.json: assay: detach_stored: method 5.5 has no such option; it has form = exp | "
          "softmax | free");
  refused({{"method", "2"}, {"form", "free"}}, "assay: form: method 2 has no such option");
  refused({{"method", "5.1A"}, {"score_gate_eps", 1e-6}},
          "assay: score_gate_eps: method 5.1A has no such option");
  refused({{"method", "5.1D"}, {"score_positions", 8}},
          "assay: score_positions: method 5.1D has no such option");
  refused({{"method", "5.6"}, {"form", "softmax"}},
          "config.json: form: method 5.6: expected free, log, got \"softmax\"");
  refused({{"residul", "keep"}}, "config.json: assay: residul: no such option; have method, ");
  refused({{"head_dim", 8}}, "config.json: assay: head_dim: no such option; have method, ");
  refused({{"method", "7"}}, "config.json: assay: method 7: no such method; have plain, 1, ");
  refused({{"params", "random"}},
          "config.json: assay: params: expected generic or initial, got \"random\"");
  refused({{"method", "5.1D"}, {"score_gate_eps", 0}}, "score_gate_eps: expected > 0, got 0");
  refused({{"method", "5.1A"}, {"score_positions", -1}}, "score_positions: expected 1 .. 2^31");
}

BOOST_AUTO_TEST_CASE(order_and_spacing_of_keys_do_not_matter) {
  const std::string text = llama().dump(4);
  BOOST_TEST(to_json(parse_config(text, "a")) == to_json(parse_config(llama().dump(), "b")));
}

BOOST_AUTO_TEST_CASE(every_fault_names_the_file_and_the_key) {
  check_refused("{", "config.json: expected JSON, got ");
  check_refused("[1]", "config.json: expected a JSON object");
  check_refused([](json& d) { d.erase("vocab_size"); },
                "config.json: key \"vocab_size\" is missing");
  check_refused([](json& d) { d["hidden_size"] = 48.5; },
                "config.json: hidden_size: expected a whole number, got 48.5");
  check_refused([](json& d) { d["num_hidden_layers"] = 0; },
                "config.json: num_hidden_layers: expected 1 .. 1024, got 0");
  check_refused([](json& d) { d["num_key_value_heads"] = 4; },
                "num_key_value_heads: expected a divisor of num_attention_heads = 6, got 4");
  check_refused([](json& d) { d["head_dim"] = 7; }, "head_dim: expected an even number");
  check_refused([](json& d) { d["rms_norm_eps"] = 0; }, "rms_norm_eps: expected > 0");
  check_refused([](json& d) { d["rms_norm_eps"] = "small"; }, "rms_norm_eps: expected a number");
  check_refused([](json& d) { d["mlp_bias"] = true; }, "config.json: mlp_bias: ");
  check_refused([](json& d) { d["attention_bias"] = "yes"; },
                "config.json: attention_bias: expected true or false, got \"yes\"");
  check_refused([](json& d) { d["hidden_act"] = "gelu"; },
                "hidden_act: expected \"silu\", got \"gelu\"");
  check_refused(
      [](json& d) {
        d["rope_scaling"] = {{"rope_type", "yarn"}};
      },
      "config.json: rope_scaling: rope_type: expected \"llama3\", got \"yarn\"");
  check_refused(
      [](json& d) {
        d["assay"] = {{"residual", "swap"}};
      },
      "config.json: assay: residual: expected keep or replace, got \"swap\"");
}

BOOST_AUTO_TEST_CASE(a_preset_that_is_not_there_lists_those_that_are) {
  BOOST_CHECK_EXCEPTION(preset("huge"), InputError, [](const InputError& error) {
    return error.what() == std::string("--preset huge: no such preset; have tiny, small, author");
  });
}

}  // namespace assay::golden
