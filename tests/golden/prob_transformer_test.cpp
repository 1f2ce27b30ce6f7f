// Options of the Probabilistic Transformer: defaults from the model's sizes, one canonical text,
// and a refusal with a reason for what does not go together.
#include "golden/contract/prob_transformer.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "golden/contract/config.h"
#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "golden/contract/weights.h"

namespace assay::golden {
namespace {

using nlohmann::json;

ModelConfig parsed(const json& options) {
  json document = json::parse(to_json(preset("tiny")));
  document["assay"] = {{"method", "pt"}, {"pt", options}};
  return parse_config(document.dump(), "config.json");
}

void check_refused(const json& options, const std::string& message) {
  BOOST_CHECK_EXCEPTION(parsed(options), InputError, [&](const InputError& error) {
    BOOST_TEST_MESSAGE(error.what());
    return std::string(error.what()).find(message) != std::string::npos;
  });
}

}  // namespace

// tiny has heads of size 8, 4 of them, 3 layers, width 32.
BOOST_AUTO_TEST_CASE(sizes_come_from_the_preset) {
  ModelConfig config = preset("tiny");
  config.method = "pt";
  validate(config, "tiny");
  const ProbTransformer pt = prob_transformer_of(config);
  BOOST_TEST(pt.rank == 8);
  BOOST_TEST(pt.channels == 4);
  BOOST_TEST(pt.iterations == 3);
  BOOST_TEST(pt.lambda_h == 1.0 / 32);
  BOOST_TEST(to_json(parsed(json::object())) == to_json(config));
}

BOOST_AUTO_TEST_CASE(canonical_text_is_a_fixed_point_with_every_option_set) {
  const json options = {{"rank", 5},
                        {"channels", 2},
                        {"iterations", 4},
                        {"message", "head"},
                        {"schedule", "async"},
                        {"lambda_h", 0.25},
                        {"lambda_z", 2.0},
                        {"head_step", 0.5},
                        {"label_step", 0.75},
                        {"head_damping", 0.1},
                        {"label_damping", 0.2},
                        {"distances", {2, 7}},
                        {"causal_heads", true},
                        {"head_groups", 3},
                        {"label_groups", 1},
                        {"updates", "in_turn"},
                        {"output", "causal"},
                        {"read", "labels"}};
  const ModelConfig config = parsed(options);
  BOOST_TEST(json::parse(to_json(config))["assay"]["pt"] == options);
  BOOST_TEST(to_json(parse_config(to_json(config), "again")) == to_json(config));
}

BOOST_AUTO_TEST_CASE(causal_heads_with_the_full_message_are_refused_with_the_reason) {
  check_refused({{"causal_heads", true}},
                "config.json: pt: message: full is not causal with causal heads: a word would hear "
                "from every later word whose head it is; expected head or symmetric");
}

BOOST_AUTO_TEST_CASE(what_does_not_go_together_is_refused) {
  check_refused({{"output", "causal"}}, "pt: output: causal predicts the next token");
  check_refused({{"head_groups", 2}, {"label_groups", 2}},
                "pt: label_groups: expected 1 with head_groups = 2, got 2");
  check_refused({{"updates", "in_turn"}, {"schedule", "sync"}}, "expected schedule async");
  check_refused({{"updates", "in_turn"}, {"head_groups", 4}},
                "pt: iterations: expected at least head_groups = 4 with updates in_turn, got 3");
}

BOOST_AUTO_TEST_CASE(what_is_out_of_range_is_refused_by_its_option) {
  check_refused({{"rank", -1}}, "pt: rank: expected 1 .. 2^31, got -1");
  check_refused({{"label_groups", 0}}, "pt: label_groups: expected 1 .. 2^31, got 0");
  check_refused({{"lambda_h", -0.5}}, "pt: lambda_h: expected a number > 0, got -0.5");
  check_refused({{"lambda_z", 0}}, "pt: lambda_z: expected a number > 0, got 0");
  check_refused({{"head_step", 0}}, "pt: head_step: expected a step size in (0, 1], got 0");
  check_refused({{"label_step", 1.5}}, "pt: label_step: expected a step size in (0, 1], got 1.5");
  check_refused({{"head_damping", 1}}, "pt: head_damping: expected a damping in [0, 1), got 1");
  check_refused({{"label_damping", -0.1}}, "pt: label_damping: expected a damping in [0, 1)");
  check_refused({{"distances", {1, 3}}},
                "pt: distances: expected ascending distances from 2, got 1 after 1");
  check_refused({{"distances", {4, 4}}}, "got 4 after 4");
  check_refused(
      {{"distances", "near"}},
      "config.json: assay: pt: distances: expected a list of whole numbers, got \"near\"");
  check_refused({{"message", "both"}},
                "assay: pt: message: expected full or symmetric or head, got \"both\"");
  check_refused({{"rounds", 3}}, "assay: pt: rounds: no such option; have rank, channels, ");
}

BOOST_AUTO_TEST_CASE(other_methods_do_not_take_the_options) {
  ModelConfig config = preset("tiny");
  config.pt.channels = 2;
  BOOST_CHECK_EXCEPTION(validate(config, "config"), InputError, [](const InputError& error) {
    return std::string(error.what()).starts_with("config: pt: method plain has no such option");
  });
}

// 3 distance groups on either side, 4 channels, r = 8: U, V have 6*4*8 rows.
BOOST_AUTO_TEST_CASE(factors_stack_distance_groups_channels_and_rank) {
  const ModelConfig config = parsed({{"distances", {2, 7}}, {"head_groups", 2}});
  std::string text;
  for (const TensorInfo& w : weight_list(config)) text += w.name + shape_text(w.shape) + " ";
  BOOST_TEST(text ==
             "model.unary.weight[64,32] model.groups.0.u.weight[192,32] "
             "model.groups.0.v.weight[192,32] model.groups.1.u.weight[192,32] "
             "model.groups.1.v.weight[192,32] lm_head.weight[64,32] ");
}

// Standard deviations 1 and 0.75 r^(-1/4) = 0.446; a sample's own deviates by 1 / sqrt(2 n) of it
// or less, n >= 1024.
BOOST_AUTO_TEST_CASE(weights_are_drawn_for_heads_that_are_neither_flat_nor_certain) {
  const ModelConfig config = parsed(json::object());
  const SyntheticWeights weights(config, 1);
  const auto deviation = [&](const std::string& name) {
    for (const TensorInfo& info : weight_list(config)) {
      if (info.name != name) continue;
      std::vector<double> values(static_cast<std::size_t>(element_count(info.shape)));
      weights.read(name, values);
      double squares = 0;
      for (const double x : values) squares += x * x;
      return std::sqrt(squares / static_cast<double>(values.size()));
    }
    return 0.0;
  };
  BOOST_TEST(std::fabs(deviation("model.unary.weight") - 1) < 0.1);
  BOOST_TEST(std::fabs(deviation("model.groups.0.u.weight") - 0.446) < 0.045);
  BOOST_TEST(std::fabs(deviation("model.groups.0.v.weight") - 0.446) < 0.045);
}

// Labels are what stood there; nothing else is asked, and padding never.
BOOST_AUTO_TEST_CASE(masked_positions_are_asked_and_the_others_are_not) {
  const std::vector<int32_t> tokens = synthetic_tokens(50, 8, 40, 3);
  std::vector<uint8_t> real(tokens.size(), 1);
  for (std::size_t i = 0; i < 100; ++i) real[i] = 0;
  const MaskedTokens masked = mask_tokens(tokens, real, 50, 3);
  int64_t asked = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (masked.labels[i] == -100) {
      BOOST_TEST(masked.tokens[i] == tokens[i]);
    } else {
      BOOST_TEST(masked.labels[i] == tokens[i]);
      BOOST_TEST(masked.tokens[i] == 49);
      BOOST_TEST(real[i] == 1);
      ++asked;
    }
  }
  // 220 positions, mean 33, standard deviation 5.3.
  BOOST_TEST(asked > 33 - 16);
  BOOST_TEST(asked < 33 + 16);
}

BOOST_AUTO_TEST_CASE(a_single_real_position_is_masked) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const MaskedTokens masked = mask_tokens({5, 6, 7}, {0, 1, 0}, 9, seed);
    BOOST_TEST(masked.tokens == (std::vector<int32_t>{5, 8, 7}), boost::test_tools::per_element());
    BOOST_TEST(masked.labels == (std::vector<int32_t>{-100, 6, -100}),
               boost::test_tools::per_element());
  }
}

}  // namespace assay::golden
