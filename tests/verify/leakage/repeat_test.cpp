#include <boost/test/unit_test.hpp>

#include "tests/verify/leakage/fake_subject.h"

namespace assay::verify::fake {

BOOST_AUTO_TEST_CASE(a_subject_with_state_is_inconclusive_not_passed) {
  const auto result =
      detect([](const Batch& x, int64_t b, int64_t t, int call) { return causal(x, b, t) + call; });
  BOOST_TEST(result.checks.size() == 1u);
  BOOST_TEST((check(result, "repeat").status == Status::inconclusive));
  BOOST_TEST(check(result, "repeat").summary == "two runs on one batch differ, first at logits");
  BOOST_TEST(exit_code(result.checks) == 3);
}

BOOST_AUTO_TEST_CASE(a_subject_without_state_agrees_with_itself) {
  const auto result =
      detect([](const Batch& x, int64_t b, int64_t t, int) { return causal(x, b, t); });
  BOOST_TEST((check(result, "repeat").status == Status::pass));
}

}  // namespace assay::verify::fake
