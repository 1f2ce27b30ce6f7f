// Configs: read from a Hugging Face config.json, refused with the file and the key, written in one
// canonical form.
#include "golden/config.h"

#include <boost/test/unit_test.hpp>
#include <functional>
#include <nlohmann/json.hpp>

#include "golden/error.h"

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

BOOST_AUTO_TEST_CASE(order_and_spacing_of_keys_do_not_matter) {
  const std::string text = llama().dump(4);
  BOOST_TEST(to_json(parse_config(text, "a")) == to_json(parse_config(llama().dump(), "b")));
}

BOOST_AUTO_TEST_CASE(every_fault_names_the_file_and_the_key) {
  check_refused("{", "config.json: not JSON: ");
  check_refused("[1]", "config.json: expected a JSON object");
  check_refused([](json& d) { d.erase("vocab_size"); },
                "config.json: key \"vocab_size\" is missing");
  check_refused([](json& d) { d["hidden_size"] = 48.5; },
                "config.json: hidden_size: expected a whole number, got 48.5");
  check_refused([](json& d) { d["num_hidden_layers"] = 0; },
                "config.json: num_hidden_layers: expected 1 .. 2^31, got 0");
  check_refused([](json& d) { d["num_key_value_heads"] = 4; },
                "num_key_value_heads: expected a divisor of num_attention_heads = 6, got 4");
  check_refused([](json& d) { d["head_dim"] = 7; }, "head_dim: expected an even number");
  check_refused([](json& d) { d["rms_norm_eps"] = 0; }, "rms_norm_eps: expected > 0");
  check_refused([](json& d) { d["rms_norm_eps"] = "small"; }, "rms_norm_eps: expected a number");
  check_refused([](json& d) { d["attention_bias"] = true; }, "attention_bias: ");
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
