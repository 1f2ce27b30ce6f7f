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

BOOST_AUTO_TEST_CASE(one_row_has_no_neighbours_to_hear_from) {
  const auto result =
      detect([](const Batch& x, int64_t b, int64_t t, int) { return causal(x, b, t); }, batch(1));
  BOOST_TEST((check(result, "batch").status == Status::skipped));
  BOOST_TEST(check(result, "batch").summary == "one row has no neighbours");
}

}  // namespace assay::verify::fake
