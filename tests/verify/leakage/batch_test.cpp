#include <boost/test/unit_test.hpp>

#include "tests/verify/leakage/fake_subject.h"

namespace assay::verify::fake {

BOOST_AUTO_TEST_CASE(cross_talk_between_rows_is_found) {
  const auto result = detect([](const Batch& x, int64_t b, int64_t t, int) {
    return causal(x, b, t) + (b == 1 ? token(x, 0, 0) : 0.0);
  });
  BOOST_TEST((check(result, "batch").status == Status::fail));
  BOOST_TEST((check(result, "labels").status == Status::pass));
}

// A single row gets a neighbour: nothing is left out, and what it hears of it is found.
BOOST_AUTO_TEST_CASE(one_row_is_run_with_a_neighbour) {
  const auto clean =
      detect([](const Batch& x, int64_t b, int64_t t, int) { return causal(x, b, t); }, batch(1));
  BOOST_TEST((check(clean, "batch").status == Status::pass));
  BOOST_TEST(check(clean, "batch").summary ==
             "the row unchanged bit for bit when a second one below it changes");
  const auto result = detect([](const Batch& x, int64_t b, int64_t t,
                                int) { return causal(x, b, t) + token(x, x.batch - 1, 0); },
                             batch(1));
  BOOST_TEST((check(result, "batch").status == Status::fail));
}

}  // namespace assay::verify::fake
