#include <boost/test/unit_test.hpp>

#include "tests/verify/leakage/fake_subject.h"

namespace assay::verify::fake {

BOOST_AUTO_TEST_CASE(the_influence_matrix_of_a_causal_subject_is_lower_triangular) {
  const auto result =
      detect([](const Batch& x, int64_t b, int64_t t, int) { return causal(x, b, t); });
  for (int64_t t = 0; t < kT; ++t) {
    for (int64_t s = 0; s < kT; ++s) {
      const int layer = result.influence.first_layer[static_cast<std::size_t>(t * kT + s)];
      const int expected = s > t    ? -1
                           : s == t ? 0
                                    : static_cast<int>(config().num_hidden_layers) + 1;
      BOOST_TEST(layer == expected);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_subject_that_ignores_its_input_fails) {
  const auto result = detect([](const Batch&, int64_t, int64_t t, int) { return double(t); });
  BOOST_TEST((check(result, "influence").status == Status::fail));
}

BOOST_AUTO_TEST_CASE(a_dead_mask_that_hides_all_but_the_own_token_fails) {
  const auto result =
      detect([](const Batch& x, int64_t b, int64_t t, int) { return token(x, b, t); });
  BOOST_TEST((check(result, "influence").status == Status::fail));
  BOOST_TEST(check(result, "influence").summary ==
             "the logits at position 8 do not depend on token 0");
}

}  // namespace assay::verify::fake
