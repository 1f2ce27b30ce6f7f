// The registry: what there is, and what it says about what there is not.
#include "reference/methods/registry.h"

#include <boost/test/unit_test.hpp>

#include "golden/contract/error.h"
#include "tests/reference/models.h"

namespace assay::reference::testing {
namespace {

template <class Call>
std::string refusal(Call&& call) {
  try {
    call();
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(registry)

BOOST_AUTO_TEST_CASE(an_unknown_method_is_refused_with_those_there_are) {
  const std::string refused = refusal([] { build_model(ragged_config("7"), 1, 2); });
  BOOST_TEST(refused.starts_with("config: method 7: no such method; have plain, 1, "), refused);
}

BOOST_AUTO_TEST_CASE(a_model_without_rows_or_positions_is_refused) {
  BOOST_TEST(refusal([] { build_model(ragged_config("1"), 0, 4); }) ==
             "tokens: expected at least one row and one position, got [0,4]");
  BOOST_TEST(refusal([] { build_model(ragged_config("1"), 2, 0); }) ==
             "tokens: expected at least one row and one position, got [2,0]");
}

BOOST_AUTO_TEST_CASE(a_config_made_in_code_is_checked_too) {
  ModelConfig config = ragged_config("1");
  config.num_key_value_heads = 4;
  BOOST_TEST(refusal([&] { build_model(config, 1, 2); }) ==
             "config: num_key_value_heads: expected a divisor of num_attention_heads = 6, got 4");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
