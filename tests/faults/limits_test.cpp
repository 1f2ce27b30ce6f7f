// Sizes that cannot be are refused before anything is made of them; names cannot steer a terminal.
#include <boost/test/unit_test.hpp>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "golden/contract/weights.h"
#include "golden/suites/suite.h"

namespace assay::golden {
namespace {

template <class Call>
std::string complaint(Call&& call) {
  try {
    call();
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

constexpr int64_t kHuge = 6148914691236517206;  // 3 * kHuge is 2 modulo 2^64

BOOST_AUTO_TEST_CASE(element_counts_do_not_wrap_around) {
  BOOST_TEST(element_count({int64_t{1} << 20, int64_t{1} << 20}) == kMostElements);
  BOOST_TEST(element_count({0, 5}) == 0);
  BOOST_TEST(element_count({}) == 1);
  for (const Shape& shape : {Shape{kHuge, 3}, Shape{int64_t{1} << 32, int64_t{1} << 32},
                             Shape{kMostElements, 2}, Shape{kMostElements + 1}, Shape{-1}}) {
    BOOST_TEST(contains(complaint([&] { element_count(shape); }),
                        "shape " + shape_text(shape) + ": expected at most 1099511627776 = 2^40"));
  }
}

BOOST_AUTO_TEST_CASE(runs_that_cannot_be_are_refused) {
  const ModelConfig config = preset("tiny");
  BOOST_TEST(complaint([&] { check_sizes(config, 2, 8); }) == "");
  for (const auto& [batch, positions] : {std::pair{kHuge, int64_t{3}},
                                         {int64_t{1}, kHuge},
                                         {int64_t{1} << 20, int64_t{1} << 20},
                                         {int64_t{1}, int64_t{1} << 21}}) {
    BOOST_TEST(contains(complaint([&] { check_sizes(config, batch, positions); }), "2^40"));
  }
  BOOST_TEST(contains(complaint([&] { synthetic_tokens(64, kHuge, 3, 1); }), "2^40"));
}

// Each extent is possible, their product is not: a weight, and all of them together.
BOOST_AUTO_TEST_CASE(models_that_cannot_be_are_refused_by_the_name_of_a_tensor) {
  ModelConfig wide = preset("tiny");
  wide.hidden_size = wide.vocab_size = int64_t{1} << 30;
  BOOST_TEST(contains(complaint([&] { weight_list(wide); }), "model.embed_tokens.weight: shape"));
  ModelConfig many = preset("tiny");
  many.num_hidden_layers = kMostLayers;
  many.hidden_size = many.intermediate_size = int64_t{1} << 15;
  BOOST_TEST(contains(complaint([&] { weight_list(many); }), "tensors up to model.layers."));
  many.num_hidden_layers = kMostLayers + 1;
  BOOST_TEST(contains(complaint([&] { validate(many, "x"); }), "num_hidden_layers: expected 1 .."));
  ModelConfig heads = preset("tiny");
  heads.num_attention_heads = heads.num_key_value_heads = heads.head_dim = int64_t{1} << 20;
  BOOST_TEST(contains(complaint([&] { validate(heads, "x"); }),
                      "num_attention_heads * head_dim: expected 1 .. 2^31"));
  ModelConfig scores = preset("tiny");
  scores.method = "5.5";
  scores.score_positions = int64_t{1} << 31;
  BOOST_TEST(complaint([&] { weight_list(scores); }) == "");  // possible, if large
}

std::string suite_with(const std::string& shape) {
  return R"({"assay_suite": 1, "blocks": {"b": {"hidden_size": 32, "intermediate_size": 48,
    "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "vocab_size": 64}}, "entries": [{"methods": ["plain"], "blocks": ["b"], "heads": ["gqa"],
    "shapes": [)" +
         shape + "]}]}";
}

// left + right was negative, and so below the number of positions.
BOOST_AUTO_TEST_CASE(paddings_do_not_wrap_around) {
  const auto said = [](const std::string& shape) {
    return complaint([&] { parse_suite(suite_with(shape), "s", "suite s"); });
  };
  BOOST_TEST(said(R"({"positions": 5, "left": [2], "right": [2]})") == "");
  BOOST_TEST(contains(said(R"({"positions": 5, "left": [9223372036854775807], "right": [9]})"),
                      "expected padding that leaves a token of 5 positions"));
  BOOST_TEST(contains(said(R"({"positions": 9223372036854775807})"), "2^40"));
  BOOST_TEST(contains(said(R"({"positions": 18446744073709551615})"), "expected a whole number"));
}

// It took 8 bytes for each row of a case that nobody makes.
BOOST_AUTO_TEST_CASE(a_batch_in_a_suite_costs_nothing_until_it_is_made) {
  const Suite suite =
      parse_suite(suite_with(R"({"batch": 1073741824, "positions": 1})"), "s", "suite s");
  BOOST_TEST(suite.cases.at(0).batch == int64_t{1} << 30);
  BOOST_TEST(suite.cases.at(0).left.empty());
}

// What ends a line or steers a terminal, in ASCII, in C1 and by the direction of writing; what
// people write stays.
BOOST_AUTO_TEST_CASE(names_reach_a_terminal_as_one_line) {
  BOOST_TEST(one_line("x\nverdict: pass\r\x1b[2J\x7f\t") == "x?verdict: pass??[2J??");
  BOOST_TEST(one_line("a\xc2\x9b"
                      "31mb\xe2\x80\xae"
                      "c\xe2\x81\xa6") == "a?31mb?c?");
  BOOST_TEST(one_line("caf\xc3\xa9 \xe2\x82\xac") == "caf\xc3\xa9 \xe2\x82\xac");
  BOOST_TEST(one_line("\xe2") == "\xe2");
}

}  // namespace
}  // namespace assay::golden
