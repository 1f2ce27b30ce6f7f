// Suites as JSON: which cases a product gives, in which order and under which names, and what is
// told to whoever mistypes.
#include "golden/suites/suite.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <fstream>
#include <set>

#include "golden/contract/error.h"
#include "golden/contract/precision.h"
#include "golden/suites/suite_data.h"
#include "tests/golden/sample.h"

using namespace assay;
using golden::Suite;
using golden::SuiteCase;

namespace {

// A suite with one entry, and one thing wrong or of interest in it.
std::string suite_text(const std::string& methods, const std::string& heads,
                       const std::string& shapes, const std::string& more = "") {
  return R"({"assay_suite": 1,
    "blocks": {"llama": {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
                         "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4,
                         "vocab_size": 32}},
    "entries": [{"methods": )" +
         methods + R"(, "blocks": ["llama"], "heads": )" + heads + R"(, "shapes": )" + shapes +
         more + "}]}";
}

Suite parsed(const std::string& text) { return golden::parse_suite(text, "s", "suite s"); }

std::vector<std::string> names(const Suite& suite) {
  std::vector<std::string> list;
  for (const SuiteCase& c : suite.cases) list.push_back(c.name);
  return list;
}

void expect_error(const std::string& text, const std::string& part) {
  BOOST_CHECK_EXCEPTION(parsed(text), InputError, [&](const InputError& error) {
    const bool found = std::string(error.what()).find(part) != std::string::npos;
    if (!found) BOOST_TEST_MESSAGE("expected '" << part << "' in: " << error.what());
    return found;
  });
}

const std::string kT5 = R"([{"positions": 5}])";

}  // namespace

BOOST_AUTO_TEST_CASE(a_product_varies_methods_slowest_and_shapes_fastest) {
  const Suite suite =
      parsed(suite_text(R"(["plain", {"method": "1", "residual": "replace"}])", R"(["mha", "mqa"])",
                        R"([{"positions": 5}, {"batch": 2, "positions": 3, "left": [0, 1]}])"));
  const std::vector<std::string> expected{
      "plain-llama-mha-b1-t5",     "plain-llama-mha-b2-t3-padded",
      "plain-llama-mqa-b1-t5",     "plain-llama-mqa-b2-t3-padded",
      "1-llama-mha-b1-t5-replace", "1-llama-mha-b2-t3-padded-replace",
      "1-llama-mqa-b1-t5-replace", "1-llama-mqa-b2-t3-padded-replace"};
  BOOST_TEST(names(suite) == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(head_layouts_set_the_key_value_heads) {
  const Suite suite = parsed(suite_text(R"(["plain"])", R"(["mha", "gqa", "mqa"])", kT5));
  BOOST_TEST(suite.cases[0].config.num_key_value_heads == 4);
  BOOST_TEST(suite.cases[1].config.num_key_value_heads == 2);
  BOOST_TEST(suite.cases[2].config.num_key_value_heads == 1);
}

BOOST_AUTO_TEST_CASE(the_later_setting_wins) {
  const Suite suite = parsed(
      suite_text(R"(["plain"])", R"(["mha"])", R"([{"positions": 5}, {"positions": 6, "seed": 9}])",
                 R"(, "seed": 4, "capture": "hash", "precisions": ["bf16"], "suffix": "x")"));
  BOOST_TEST(suite.cases[0].settings.seed == 4u);
  BOOST_TEST(suite.cases[1].settings.seed == 9u);
  BOOST_TEST((suite.cases[1].settings.capture == golden::Capture::hash));
  BOOST_TEST((suite.cases[1].settings.precisions == std::vector{golden::Precision::bf16}));
  BOOST_TEST(suite.cases[1].name == "plain-llama-mha-b1-t6-x");
}

BOOST_AUTO_TEST_CASE(padding_hides_the_ends_of_rows) {
  const Suite suite =
      parsed(suite_text(R"(["plain"])", R"(["mha"])",
                        R"([{"batch": 2, "positions": 4, "left": [1, 0], "right": [0, 2]}])"));
  const std::vector<int> expected{0, 1, 1, 1, 1, 1, 0, 0};
  BOOST_TEST(golden::case_data(suite.cases[0]).attention_mask == expected,
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(what_is_mistyped_is_named_with_suite_case_and_key) {
  expect_error(suite_text(R"(["7"])", R"(["mha"])", kT5), "suite s: case 7-llama-mha-b1-t5: ");
  expect_error(
      suite_text(R"([{"method": "1", "residul": "keep"}])", R"(["mha"])", kT5),
      "suite s: case 1-llama-mha-b1-t5-keep: assay: residul: no such option; have method, ");
  expect_error(suite_text(R"([{"method": "1", "residual": "swap"}])", R"(["mha"])", kT5),
               "suite s: case 1-llama-mha-b1-t5-swap: assay: residual: expected keep or replace");
  expect_error(suite_text(R"([{"residual": "keep"}])", R"(["mha"])", kT5),
               "suite s: entry 0: methods: expected a text or an object with \"method\"");
  expect_error(suite_text(R"(["plain"])", R"(["gpa"])", kT5),
               "heads: expected mha, gqa or mqa, got gpa");
  expect_error(suite_text(R"(["plain"])", R"(["mha"])", kT5, R"(, "sed": 3)"),
               "suite s: entry 0: sed: unknown key; have ");
  expect_error(suite_text(R"(["plain"])", R"(["mha"])", R"([{"position": 5}])"),
               "suite s: entry 0: shape 0: ");
  expect_error(suite_text(R"(["plain"])", R"(["mha"])", R"([])"),
               "shapes: expected a list with at least one item");
  expect_error(suite_text(R"(["plain"])", R"(["mha"])", kT5, R"(, "seed": -1)"),
               "seed: expected a whole number >= 0, got -1");
  expect_error(suite_text(R"(["plain"])", R"(["mha"])", kT5, R"(, "data": "odd")"),
               "data: expected drawn, exact, large, positive, raised or float32, got odd");
  expect_error(suite_text(R"(["plain"])", R"(["mha"])", kT5, R"(, "capture": "some")"),
               "suite s: entry 0: --capture some");
  expect_error("{", "suite s: expected JSON, got ");
  expect_error("{}", "assay_suite: expected 1, got 0");
}

BOOST_AUTO_TEST_CASE(a_block_without_groups_has_no_gqa) {
  std::string text = suite_text(R"(["plain"])", R"(["gqa"])", kT5);
  text.replace(text.find("\"num_key_value_heads\": 2"), 24, "\"num_key_value_heads\": 4");
  expect_error(text, "gqa: expected a block with 1 < num_key_value_heads < 4, got 4");
}

// A block is a config.json: what --config takes stands in it too.
BOOST_AUTO_TEST_CASE(a_block_is_read_as_a_config_json_is) {
  const auto block = [](const std::string& keys) {
    std::string text = suite_text(R"(["plain"])", R"(["gqa"])", kT5);
    return text.replace(text.find("\"hidden_size\""), 0, keys + ", ");
  };
  const golden::ModelConfig plain = parsed(block(R"("use_cache": true)")).cases[0].config;
  for (const std::string keys :
       {R"("model_type": "llama")", R"("architectures": ["LlamaForCausalLM"])",
        R"("rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"})",
        R"("model_type": "llama", "torch_dtype": "bfloat16", "bos_token_id": 1)"}) {
    BOOST_TEST(golden::to_json(parsed(block(keys)).cases[0].config) == golden::to_json(plain),
               keys);
  }
  BOOST_TEST(parsed(block(R"("model_type": "mistral")")).cases[0].config.window == 4096);
  BOOST_TEST(parsed(block(R"("assay": {"window": 3})")).cases[0].config.window == 3);
  BOOST_TEST(parsed(block(R"("model_type": "qwen3")")).cases[0].config.qk_norm);
  const std::string where = "suite s: case plain-llama-gqa-b1-t5: ";
  expect_error(block(R"("use_cahce": true)"), where + "use_cahce: no key of LlamaForCausalLM");
  expect_error(block(R"("model_type": "gemma2")"), where + "model_type: expected \"llama\"");
  expect_error(block(R"("assay": {"norm": "pre"})"), where + "assay: norm: no such option");
}

BOOST_AUTO_TEST_CASE(a_gpt2_block_may_use_the_names_that_other_classes_have) {
  const std::string text = R"({"assay_suite": 1, "blocks": {"g": {
      "architectures": ["GPT2LMHeadModel"], "hidden_size": 16, "num_hidden_layers": 2,
      "num_attention_heads": 4, "max_position_embeddings": 8, "vocab_size": 32}},
    "entries": [{"methods": ["plain"], "blocks": ["g"], "heads": ["mqa"], "shapes": )" +
                           kT5 + "}]}";
  const golden::ModelConfig config = parsed(text).cases[0].config;
  BOOST_TEST((config.block == golden::BlockKind::gpt2));
  BOOST_TEST(config.num_attention_heads == 4);
  BOOST_TEST(config.num_key_value_heads == 1);
}

BOOST_AUTO_TEST_CASE(padding_has_one_number_a_row_and_leaves_a_token) {
  expect_error(
      suite_text(R"(["plain"])", R"(["mha"])", R"([{"batch": 2, "positions": 4, "left": [1]}])"),
      "left: expected one number for each of 2 rows, got 1");
  expect_error(
      suite_text(R"(["plain"])", R"(["mha"])", R"([{"positions": 4, "left": [3], "right": [1]}])"),
      "row 0: expected padding that leaves a token of 4 positions");
}

BOOST_AUTO_TEST_CASE(two_cases_of_one_name_are_refused) {
  expect_error(suite_text(R"(["plain"])", R"(["mha"])", R"([{"positions": 5}, {"positions": 5}])"),
               "case plain-llama-mha-b1-t5: stands in it twice");
}

BOOST_AUTO_TEST_CASE(a_list_among_the_options_is_in_the_name) {
  const Suite suite = parsed(
      suite_text(R"([{"method": "plain", "window": 6, "full_layers": [1]}])", R"(["mha"])", kT5));
  BOOST_TEST(suite.cases.front().name == "plain-llama-mha-b1-t5-window-6-full_layers-1");
}

BOOST_AUTO_TEST_CASE(every_suite_that_comes_with_the_program_is_sound) {
  for (const std::string& name : golden::suite_names()) {
    const Suite suite = golden::load_suite(name);
    BOOST_TEST(suite.cases.size() > 0u, name);
    for (const SuiteCase& c : suite.cases) BOOST_CHECK_NO_THROW(golden::case_data(c));
  }
}

BOOST_AUTO_TEST_CASE(a_suite_is_read_from_a_file_and_a_name_nobody_knows_is_told_the_names) {
  const golden::sample::TemporaryFolder folder;
  std::ofstream(folder.file("mine.json")) << suite_text(R"(["plain"])", R"(["mha"])", kT5);
  const Suite suite = golden::load_suite(folder.file("mine.json"));
  BOOST_TEST(suite.name == "mine");
  BOOST_TEST(suite.cases.size() == 1u);
  BOOST_CHECK_EXCEPTION(golden::load_suite("mine"), InputError, [](const InputError& error) {
    return std::string(error.what()).find("have ci, full, exact, stress, device, systems") !=
           std::string::npos;
  });
  BOOST_CHECK_THROW(golden::load_suite(folder.file("no.json")), InputError);
}

BOOST_AUTO_TEST_CASE(a_pattern_that_selects_nothing_is_an_error) {
  const Suite suite = golden::load_suite("ci");
  BOOST_TEST(golden::selected(suite, "5.1-llama-*-t9-grad").cases.size() == 1u);
  BOOST_CHECK_THROW(golden::selected(suite, "nothing-*"), InputError);
}

// Each part of a recipe by itself makes another one.
BOOST_AUTO_TEST_CASE(the_recipe_tells_all_that_decides_the_file) {
  const SuiteCase c = golden::load_suite("ci").cases[2];
  std::set<std::string> hashes{golden::recipe_hash(c, 1), golden::recipe_hash(c, 2)};
  const auto changed = [&](auto&& change) {
    SuiteCase other = c;
    change(other);
    hashes.insert(golden::recipe_hash(other, 1));
  };
  changed([](SuiteCase& o) { o.config.num_hidden_layers = 2; });
  changed([](SuiteCase& o) { o.settings.seed = 2; });
  changed([](SuiteCase& o) { o.positions = 32; });
  const std::vector<int64_t> four(static_cast<std::size_t>(c.batch), 4);
  changed([&](SuiteCase& o) { o.left = four; });
  changed([&](SuiteCase& o) { o.right = four; });
  changed([](SuiteCase& o) { o.settings.data = golden::Data::large; });
  changed([](SuiteCase& o) { o.settings.capture = golden::Capture::hash; });
  changed([](SuiteCase& o) { o.settings.gradients = true; });
  BOOST_TEST(hashes.size() == 10u);
}

// Large and positive weights are what their names say, and bfloat16 as before.
BOOST_AUTO_TEST_CASE(stress_weights_are_scaled_or_absolute_values_of_the_drawn_ones) {
  SuiteCase c = golden::load_suite("ci").cases[0];
  const auto draw = [&](golden::Data data, const std::string& name) {
    c.settings.data = data;
    std::vector<double> values(static_cast<std::size_t>(48 * 32));
    golden::case_data(c).weights->read(name, values);
    return values;
  };
  const std::string gate = "model.layers.0.mlp.gate_proj.weight";
  const auto drawn = draw(golden::Data::drawn, gate);
  const auto large = draw(golden::Data::large, gate);
  const auto positive = draw(golden::Data::positive, gate);
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    BOOST_REQUIRE(large[i] == 4 * drawn[i]);
    BOOST_REQUIRE(positive[i] == std::fabs(drawn[i]));
  }
}

// D = 32, H = 4, Hkv = 2, Dh = 8: of the 64 columns of c_attn the last 16 give v.
BOOST_AUTO_TEST_CASE(stress_weights_know_the_names_of_gpt2) {
  const Suite ci = golden::load_suite("ci");
  SuiteCase c = golden::selected(ci, "plain-gpt2-gqa-b2-t9-grad").cases.at(0);
  const auto draw = [&](golden::Data data, const std::string& name, int64_t size) {
    c.settings.data = data;
    std::vector<double> values(static_cast<std::size_t>(size));
    golden::case_data(c).weights->read("transformer." + name, values);
    return values;
  };
  const auto is_factor = [&](const std::string& name, int64_t size, double factor) {
    const auto drawn = draw(golden::Data::drawn, name, size);
    const auto large = draw(golden::Data::large, name, size);
    for (std::size_t i = 0; i < drawn.size(); ++i) {
      if (large[i] != factor * drawn[i]) return false;
    }
    return drawn != std::vector<double>(drawn.size(), 0.0);
  };
  BOOST_TEST(is_factor("wte.weight", 64 * 32, 64));
  BOOST_TEST(is_factor("wpe.weight", 40 * 32, 1));
  BOOST_TEST(is_factor("h.1.attn.c_attn.weight", 32 * 64, 1));
  BOOST_TEST(is_factor("h.1.attn.c_proj.weight", 32 * 32, 4));
  BOOST_TEST(is_factor("h.1.attn.c_proj.bias", 32, 1));
  BOOST_TEST(is_factor("h.1.mlp.c_fc.weight", 32 * 48, 4));
  BOOST_TEST(is_factor("h.1.mlp.c_proj.weight", 48 * 32, 4));
  BOOST_TEST(is_factor("h.1.mlp.c_proj.bias", 32, 1));
  for (const auto& [name, rows] :
       {std::pair{"h.1.attn.c_attn.weight", 32}, {"h.1.attn.c_attn.bias", 1}}) {
    const auto drawn = draw(golden::Data::drawn, name, rows * 64);
    const auto positive = draw(golden::Data::positive, name, rows * 64);
    int turned = 0;
    for (std::size_t i = 0; i < drawn.size(); ++i) {
      const bool gives_v = i % 64 >= 48;
      BOOST_REQUIRE(positive[i] == (gives_v ? std::fabs(drawn[i]) : drawn[i]));
      turned += positive[i] != drawn[i];
    }
    BOOST_TEST(turned > 0, name);
  }
  for (const auto& [name, size] : {std::pair{"wte.weight", 64 * 32}, {"h.1.mlp.c_fc.bias", 48}}) {
    const auto drawn = draw(golden::Data::drawn, name, size);
    const auto positive = draw(golden::Data::positive, name, size);
    for (std::size_t i = 0; i < drawn.size(); ++i)
      BOOST_REQUIRE(positive[i] == std::fabs(drawn[i]));
  }
}

// D = 32, H = 4, Hkv = 2, Dh = 8: what raises scores, and that everything else is as drawn.
BOOST_AUTO_TEST_CASE(raised_weights_have_one_channel_of_queries_and_keys) {
  const Suite ci = golden::load_suite("ci");
  const auto draw = [](SuiteCase c, golden::Data data, const std::string& name, int64_t size) {
    c.settings.data = data;
    std::vector<double> values(static_cast<std::size_t>(size));
    golden::case_data(c).weights->read(name, values);
    return values;
  };
  const auto differing = [&](const SuiteCase& c, const std::string& name, int64_t size) {
    const auto drawn = draw(c, golden::Data::drawn, name, size);
    const auto raised = draw(c, golden::Data::raised, name, size);
    int count = 0;
    for (std::size_t i = 0; i < drawn.size(); ++i) count += drawn[i] != raised[i];
    return count;
  };
  const SuiteCase llama = golden::selected(ci, "plain-llama-gqa-*-raised").cases.at(0);
  const std::string layer = "model.layers.1.";
  const auto keys = draw(llama, golden::Data::raised, layer + "self_attn.k_proj.weight", 16 * 32);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const std::size_t channel = i / 32 % 8;
    if (channel == 3 || channel == 7) {
      BOOST_TEST(keys[i] == (channel == 3 && i % 32 == 0 ? 6 : 0));
    }
  }
  BOOST_TEST(differing(llama, layer + "self_attn.k_proj.weight", 16 * 32) == 2 * 2 * 32);
  BOOST_TEST(differing(llama, layer + "self_attn.v_proj.weight", 16 * 32) == 0);
  BOOST_TEST(differing(llama, layer + "self_attn.o_proj.weight", 32 * 32) == 32 * 32);
  BOOST_TEST(differing(llama, layer + "mlp.down_proj.weight", 32 * 48) == 32 * 48);
  BOOST_TEST(differing(llama, "model.embed_tokens.weight", 64 * 32) == 64);
  BOOST_TEST(differing(llama, "model.norm.weight", 32) == 32);
  const SuiteCase gpt2 = golden::selected(ci, "plain-gpt2-gqa-*-raised").cases.at(0);
  const std::string attention = "transformer.h.1.attn.c_attn.";
  const auto bias = draw(gpt2, golden::Data::raised, attention + "bias", 64);
  for (std::size_t i = 0; i < 48; i += 8) BOOST_TEST(bias[i] == 32);
  BOOST_TEST(differing(gpt2, attention + "bias", 64) == 6);
  BOOST_TEST(differing(gpt2, attention + "weight", 32 * 64) == 6 * 32);
  BOOST_TEST(differing(gpt2, "transformer.wte.weight", 64 * 32) == 0);
}

BOOST_AUTO_TEST_CASE(float32_weights_are_near_the_drawn_ones_and_no_numbers_of_bf16) {
  SuiteCase c = golden::load_suite("ci").cases[0];
  std::vector<double> drawn(48 * 32), moved(48 * 32);
  const std::string gate = "model.layers.0.mlp.gate_proj.weight";
  golden::case_data(c).weights->read(gate, drawn);
  c.settings.data = golden::Data::float32;
  golden::case_data(c).weights->read(gate, moved);
  int held = 0;
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    BOOST_REQUIRE(std::fabs(moved[i] - drawn[i]) <= std::fabs(drawn[i]) / 63);
    BOOST_REQUIRE(golden::round_to(golden::Precision::fp32, moved[i]) == moved[i]);
    held += golden::round_to(golden::Precision::bf16, moved[i]) == moved[i];
  }
  BOOST_TEST(held <= 1);
}

BOOST_AUTO_TEST_CASE(raised_scores_need_a_method_that_has_scores_of_attention) {
  SuiteCase c = golden::load_suite("ci").cases[0];
  c.config.method = "pt";
  c.settings.data = golden::Data::raised;
  BOOST_CHECK_EXCEPTION(golden::case_data(c), InputError, [](const InputError& error) {
    return std::string(error.what()).find("data raised: expected a method with scores") !=
           std::string::npos;
  });
}
