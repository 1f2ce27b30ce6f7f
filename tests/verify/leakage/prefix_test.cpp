#include <boost/test/unit_test.hpp>

#include "tests/verify/leakage/fake_subject.h"

namespace assay::verify::fake {

BOOST_AUTO_TEST_CASE(one_position_that_peeks_one_ahead_is_found_with_its_pair) {
  const auto result = detect([](const Batch& x, int64_t b, int64_t t, int) {
    return causal(x, b, t) + (t == 5 ? 1e-9 * token(x, b, 6) : 0.0);
  });
  BOOST_TEST((check(result, "prefix").status == Status::fail));
  BOOST_TEST(result.tensor == "logits");
  BOOST_TEST(result.t == 5);
  BOOST_TEST(result.s == 6);
}

// Two tokens must change together: a single one leaves the parity of their difference to the test's
// luck.
BOOST_AUTO_TEST_CASE(a_leak_that_needs_two_tokens_is_found_by_the_suffixes) {
  const auto result = detect([](const Batch& x, int64_t b, int64_t t, int) {
    const Batch original = batch();
    const bool both =
        token(x, b, 7) != token(original, b, 7) && token(x, b, 8) != token(original, b, 8);
    return causal(x, b, t) + (t == 2 && both ? 1.0 : 0.0);
  });
  BOOST_TEST((check(result, "prefix").status == Status::fail));
  BOOST_TEST(result.t == 2);
  BOOST_TEST(result.s == -1);
}

// Pairs are found by influence; prefix reports the first of them with its tensor.
BOOST_AUTO_TEST_CASE(the_first_of_two_leaks_is_named) {
  const auto result = detect([](const Batch& x, int64_t b, int64_t t, int) {
    return causal(x, b, t) + (t == 3 ? token(x, b, 8) : t == 5 ? token(x, b, 6) : 0.0);
  });
  BOOST_TEST(check(result, "prefix").summary == "leak at logits, first pair (3 <- 8)");
}

// What lies behind the positions that were run is not passed.
BOOST_AUTO_TEST_CASE(a_part_of_the_positions_is_said_and_is_no_pass) {
  Fake subject([](const Batch& x, int64_t b, int64_t t, int) { return causal(x, b, t); });
  const Batch part = batch();
  const auto result = detect_leaks(subject, config(), part, {.all_positions = 130});
  BOOST_TEST((check(result, "prefix").status == Status::inconclusive));
  BOOST_TEST(check(result, "prefix").summary ==
             "8 cuts x 2 suffixes: the past of 2 tensors unchanged bit for bit, 9 of 130 "
             "positions");
  BOOST_TEST(exit_code(result.checks) == 3);
}

BOOST_AUTO_TEST_CASE(one_position_has_no_future) {
  const auto result = detect(
      [](const Batch& x, int64_t b, int64_t t, int) { return causal(x, b, t); }, batch(kB, 1));
  BOOST_TEST((check(result, "prefix").status == Status::inconclusive));
}

}  // namespace assay::verify::fake
