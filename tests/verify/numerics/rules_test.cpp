// The rules that a verdict rests on, by hand.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "verify/numerics/compact_tensor.h"
#include "verify/numerics/layout.h"
#include "verify/statistics/compare.h"
#include "verify/statistics/tolerance.h"
#include "verify/verdict.h"

namespace assay::verify {
namespace {

namespace tt = boost::test_tools;

constexpr double kInf = std::numeric_limits<double>::infinity();

BOOST_AUTO_TEST_SUITE(rules)

BOOST_AUTO_TEST_CASE(nan_in_candidate_is_a_mismatch_whatever_the_bound) {
  const double golden[] = {1.0, 2.0, 3.0}, bound[] = {1e300, 1e300, kInf};
  const double candidate[] = {1.0, std::nan(""), std::nan("")};
  const Comparison seen = compare(golden, candidate, bound);
  BOOST_TEST(seen.outside == 2);
  BOOST_TEST(seen.first == 1);
  BOOST_TEST(seen.nonfinite == 2);
  BOOST_TEST(seen.max_ratio == kInf);
}

BOOST_AUTO_TEST_CASE(infinity_agrees_with_the_same_infinity_only) {
  BOOST_TEST(within(-kInf, -kInf, 0));
  BOOST_TEST(!within(-kInf, kInf, kInf));
  BOOST_TEST(!within(-kInf, -1e4, kInf));
  BOOST_TEST(!within(1, kInf, kInf));
}

BOOST_AUTO_TEST_CASE(bound_itself_is_inside) {
  BOOST_TEST(within(1, 1.5, 0.5));
  BOOST_TEST(!within(1, 1.5, 0.49));
  BOOST_TEST(within(1, 1, 0));
}

BOOST_AUTO_TEST_CASE(comparing_nothing_does_not_agree) {
  BOOST_TEST(!compare({}, {}, {}).agrees());
}

// Abramowitz and Stegun, table 26.1 and 26.2.
BOOST_AUTO_TEST_CASE(normal_quantile_is_that_of_the_tables) {
  BOOST_TEST(two_sided_normal_quantile(0.05) == 1.959964, tt::tolerance(1e-6));
  BOOST_TEST(two_sided_normal_quantile(2 * 1.349898e-3) == 3.0, tt::tolerance(1e-6));
  BOOST_TEST(two_sided_normal_quantile(2 * 2.866516e-7) == 5.0, tt::tolerance(1e-6));
}

BOOST_AUTO_TEST_CASE(more_elements_need_a_wider_bound_and_exact_ones_none) {
  const golden::PrecisionSchedule schedule;
  const AnalyticTolerance few(schedule, 1000, 1e-6), many(schedule, 1000000, 1e-6);
  BOOST_TEST(few.z() < many.z());
  const std::vector<double> bound = few.rule().of(std::vector<double>{0.0, 1.0});
  BOOST_TEST(bound[0] == 0);
  BOOST_TEST(bound[1] == few.z() * few.allowance(), tt::tolerance(1e-9));
}

BOOST_AUTO_TEST_CASE(layout_hints) {
  BOOST_TEST(layout_hint({2, 8, 64, 64}, "BHTS", {2, 64, 8, 64}) == "looks like (B,T,H,T)");
  BOOST_TEST(layout_hint({2, 12, 32}, "BTD", {2, 32, 12}) == "looks transposed");
  BOOST_TEST(layout_hint({2, 4, 12, 8}, "BHTD", {2, 12, 32}) ==
             "looks like (B,T,H*Dh), heads concatenated");
  BOOST_TEST(layout_hint({2, 12, 32}, "BTD", {2, 12, 31}) == "");
  BOOST_TEST(layout_hint({2, 12, 32}, "BTD", {24, 32}) ==
             "looks like (B*T,D), two axes joined; reshape it");
  BOOST_TEST(layout_hint({1, 12, 32}, "BTD", {12, 32}) ==
             "looks like (T,D), without the batch axis; give it an axis of 1 in front");
  BOOST_TEST(layout_hint({2, 12, 32}, "BTD", {12, 32}) ==
             "looks like (T,D), one row of the batch; dump all of them");
  BOOST_TEST(layout_hint({2, 2, 12, 8}, "BGTD", {2, 4, 12, 8}) ==
             "looks like key/value heads repeated 2 times; dump them before that");
  BOOST_TEST(layout_hint({2, 12, 50257}, "BTV", {2, 12, 50304}) ==
             "looks like a vocabulary padded to 50304; cut it to 50257");
  BOOST_TEST(layout_hint({}, "", {1}) ==
             "looks like the right values with an axis of 1 too many; squeeze it");
  BOOST_TEST(layout_hint({2, 12, 32}, "BTD", {3, 5}) == "");
}

BOOST_AUTO_TEST_CASE(location_says_what_the_marked_elements_share) {
  std::vector<char> marked(2 * 3 * 3, 0);  // [H,T,S]
  marked[9 + 1] = marked[9 + 2] = 1;       // h1 t0 s1, h1 t0 s2
  BOOST_TEST(location_text({2, 3, 3}, "HTS", marked) ==
             "all at h1, t0, s1..2, future keys (s > t)");
  BOOST_TEST(location_text({2, 3}, "BT", std::vector<char>(6, 1)) == "");
}

BOOST_AUTO_TEST_CASE(compact_tensors_keep_every_value) {
  const std::vector<double> narrow{1.5, -0.0, -kInf}, wide{1.5, 0.1};
  const auto kept = [](const golden::Shape& shape, const std::vector<double>& values) {
    const reference::Array array = CompactTensor(shape, values).values();
    return std::vector<double>(array.values().begin(), array.values().end());
  };
  BOOST_TEST(kept({3}, narrow) == narrow, tt::per_element());
  BOOST_TEST(std::signbit(kept({3}, narrow)[1]));
  BOOST_TEST(kept({2}, wide) == wide, tt::per_element());
}

BOOST_AUTO_TEST_CASE(only_pass_is_a_pass) {
  const auto code = [](const std::vector<Status>& statuses) {
    std::vector<Check> checks;
    for (const Status status : statuses) checks.emplace_back().status = status;
    return exit_code(checks);
  };
  BOOST_TEST(code({Status::pass}) == 0);
  BOOST_TEST(code({Status::pass, Status::skipped}) == 3);
  BOOST_TEST(code({Status::untrusted, Status::fail}) == 1);
  BOOST_TEST(code({Status::pass, Status::untrusted}) == 3);
  BOOST_TEST(code({Status::skipped}) == 3);
  BOOST_TEST(code({}) == 3);
}

// 77 says that a device would have judged it: nothing else may be wrong or missing.
BOOST_AUTO_TEST_CASE(want_of_a_device_has_an_exit_code_of_its_own) {
  Check passed, skipped, unjudged;
  passed.status = Status::pass;
  unjudged.status = skipped.status = Status::skipped;
  unjudged.wants_device = true;
  BOOST_TEST(exit_code({unjudged}) == 77);
  BOOST_TEST(exit_code({passed, unjudged}) == 77);
  BOOST_TEST(exit_code({skipped, unjudged}) == 3);
  Check failed;
  failed.status = Status::fail;
  BOOST_TEST(exit_code({failed, unjudged}) == 1);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace assay::verify
