// Options of the blocks, under "assay" of a config: read, written, refused; and the families of
// presets that they make.
#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "golden/contract/config.h"
#include "golden/contract/error.h"

namespace assay::golden {
namespace {

using nlohmann::json;

// A model of two layers with these options.
void check_refused(BlockKind block, const json& options, const std::string& message) {
  ModelConfig config = preset("tiny", block);
  config.num_hidden_layers = 2;
  json document = json::parse(to_json(config));
  document["assay"].update(options);
  BOOST_CHECK_EXCEPTION(parse_config(document.dump(), "c.json"), InputError,
                        [&](const InputError& error) {
                          BOOST_TEST_MESSAGE(error.what());
                          return std::string(error.what()).find(message) != std::string::npos;
                        });
}

}  // namespace

// Only where they are set, as a window.
BOOST_AUTO_TEST_CASE(options_of_the_llama_block_are_read_and_written) {
  const std::string without = to_json(preset("tiny"));
  for (const char* key : {"full_layers", "attention_bias", "qk_norm"}) {
    BOOST_TEST(without.find(key) == std::string::npos, key);
  }
  ModelConfig config = preset("tiny");
  config.window = 5;
  config.full_layers = {0, 2};
  config.attention_bias = AttentionBias::all;
  config.qk_norm = true;
  const ModelConfig again = parse_config(to_json(config), "again");
  BOOST_TEST(again.full_layers == config.full_layers);
  BOOST_TEST((again.attention_bias == AttentionBias::all));
  BOOST_TEST(again.qk_norm);
  BOOST_TEST(to_json(again) == to_json(config));
  BOOST_TEST(window_of(again, 0) == 0);
  BOOST_TEST(window_of(again, 1) == 5);
  BOOST_TEST(window_of(again, 2) == 0);
}

BOOST_AUTO_TEST_CASE(options_of_the_llama_block_that_make_no_sense_are_refused) {
  const auto refused = [](json options, const std::string& message) {
    check_refused(BlockKind::llama, options, message);
  };
  refused({{"full_layers", {0}}},
          "c.json: full_layers: expected none without a window, which no layer has then, "
          "got 0");
  for (const json& layers : {json{1, 0}, json{0, 0}, json{-1}, json{2}}) {
    refused({{"window", 4}, {"full_layers", layers}},
            "c.json: full_layers: expected layers of 0 .. 1, each once and ascending, got ");
  }
  refused({{"window", 4}, {"full_layers", {0, 1}}},
          "c.json: full_layers: expected a layer that has the window, or window 0, got 0, 1");
  refused({{"attention_bias", "q"}},
          "c.json: assay: attention_bias: expected none, qkv (of q, k and v) or all, got "
          "\"q\"");
  refused({{"qk_norm", 1}}, "c.json: assay: qk_norm: expected true or false, got 1");
  refused({{"method", "pt"}, {"qk_norm", true}},
          "c.json: qk_norm: method pt has no projections of attention");
  for (const json& option : {json{{"qk_norm", true}}, json{{"attention_bias", "qkv"}}}) {
    check_refused(BlockKind::gpt2, option, option.begin().key() + ": an option of the Llama block");
  }
}

BOOST_AUTO_TEST_CASE(a_dynamic_window_is_read_and_written) {
  BOOST_TEST(to_json(preset("tiny")).find("window_min") == std::string::npos);
  for (const char* method : {"plain", "1", "4.2", "5.1", "5.1E", "D-base"}) {
    ModelConfig config = preset("tiny");
    config.method = method;
    config.window = 9;
    config.window_kind = WindowKind::dynamic;
    config.window_min = 3;
    config.sink_tokens = 2;
    config.full_layers = {1};
    const ModelConfig again = parse_config(to_json(config), "again");
    BOOST_TEST((again.window_kind == WindowKind::dynamic));
    BOOST_TEST(again.window_min == 3);
    BOOST_TEST(to_json(again) == to_json(config));
    BOOST_TEST(has_dynamic_window(again, 0));
    BOOST_TEST(!has_dynamic_window(again, 1));
  }
}

BOOST_AUTO_TEST_CASE(a_dynamic_window_that_makes_no_sense_is_refused) {
  const auto refused = [](json options, const std::string& message) {
    if (!options.contains("window_kind")) options["window_kind"] = "dynamic";
    for (const BlockKind block : {BlockKind::llama, BlockKind::gpt2}) {
      if (block == BlockKind::gpt2 && options.contains("method")) continue;
      check_refused(block, options, message);
    }
  };
  refused({},
          "c.json: window_kind: expected a window, the largest that a dynamic one may be, got "
          "window 0");
  refused({{"window_min", 2}}, "expected a window, the largest");
  for (const int64_t least : {0, -1, 5, 1 << 30}) {
    refused({{"window", 4}, {"window_min", least}},
            "c.json: window_min: expected 1 .. 4, the window, of which it is the least size, got " +
                std::to_string(least));
  }
  refused({{"window", 4}, {"window_min", 1.5}}, "window_min: expected a whole number, got 1.5");
  refused({{"window", (1 << 24) + 1}}, "window: expected at most 2^24 = 16777216 of a dynamic");
  for (const char* kind : {"fixed", "centred"}) {
    refused({{"window", 4}, {"window_kind", kind}, {"window_min", 2}},
            "c.json: assay: window_min: the least size of a dynamic window: expected none with "
            "another kind");
  }
  for (const json& pt : {json{{"causal_heads", true}, {"message", "head"}}, json::object()}) {
    refused({{"method", "pt"}, {"pt", pt}, {"window", 4}}, "method pt has no scores of causal");
  }
  ModelConfig fixed = preset("tiny");
  fixed.window = 4;
  fixed.window_min = 2;
  BOOST_CHECK_THROW(validate(fixed, "made in code"), InputError);
}

BOOST_AUTO_TEST_CASE(families_are_options_of_a_block) {
  BOOST_TEST(to_json(family_preset("tiny", "llama", "--family")) == to_json(preset("tiny")));
  BOOST_TEST(to_json(family_preset("tiny", "gpt2", "--family")) ==
             to_json(preset("tiny", BlockKind::gpt2)));
  BOOST_TEST(family_preset("tiny", "mistral", "--family").window == 16);
  BOOST_TEST((family_preset("tiny", "qwen2", "--family").attention_bias == AttentionBias::qkv));
  BOOST_TEST(family_preset("tiny", "qwen3", "--family").qk_norm);
  for (const std::string& family : family_names()) {
    validate(family_preset("tiny", family, "--family"), family);
  }
  BOOST_CHECK_EXCEPTION(
      family_preset("tiny", "phi3", "--family"), InputError, [](const InputError& error) {
        return error.what() == std::string(
                                   "--family phi3: no such family; have llama, mistral, "
                                   "qwen2, qwen3, gpt2");
      });
}

}  // namespace assay::golden
