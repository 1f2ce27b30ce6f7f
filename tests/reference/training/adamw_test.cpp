// AdamW on numbers worked by hand, and the schedule of rates.
#include "reference/training/adamw.h"

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "golden/contract/error.h"
#include "reference/training/schedule.h"

using namespace assay;
using namespace assay::reference;

namespace {

struct Element {
  Array weight = Array::copy_of({1, 1}, std::vector<double>{1.0});
  Array first = Array::zeros({1, 1}), second = Array::zeros({1, 1});

  double step(const AdamwRule& rule, const AdamwStep& step, double gradient) {
    adamw(rule, step, Array::copy_of({1, 1}, std::vector<double>{gradient}), weight, first, second);
    return weight.data()[0];
  }
};

// beta1 = 1/2, beta2 = 3/4, eps = 1: epsilon inside the root, a correction left out, decay through
// the moments and a gradient that is not clipped all give other numbers.
const AdamwRule kRule{.beta1 = 0.5, .beta2 = 0.75, .eps = 1, .weight_decay = 0.5, .max_norm = 0};

template <class Body>
void check_refused(const Body& body, const std::string& message) {
  BOOST_CHECK_EXCEPTION(body(), InputError, [&](const InputError& error) {
    BOOST_TEST(error.what() == message);
    return true;
  });
}

}  // namespace

// Step 1: g = 3/2, m = 3/4, v = 9/16, m / c1 = 3/2, v / c2 = 9/4, move 1.5 / 2.5;
//         w = 1 - (0.6 + 0.5) / 2
// Step 2: g = -3/2, m = -3/8, v = 63/64, m / c1 = -1/2, v / c2 = 9/4, move -0.5 / 2.5;
//         w = 0.45 - (-0.2 + 0.225) / 2
BOOST_AUTO_TEST_CASE(two_steps_with_decay_and_clipping) {
  Element one;
  const AdamwStep step{.number = 1, .rate = 0.5, .clip = 0.5, .decays = true};
  BOOST_TEST(one.step(kRule, step, 3.0) == 0.45, boost::test_tools::tolerance(1e-15));
  BOOST_TEST(one.first.data()[0] == 0.75);
  BOOST_TEST(one.second.data()[0] == 0.5625);
  const AdamwStep next{.number = 2, .rate = 0.5, .clip = 0.5, .decays = true};
  BOOST_TEST(one.step(kRule, next, -3.0) == 0.4375, boost::test_tools::tolerance(1e-15));
  BOOST_TEST(one.first.data()[0] == -0.375);
  BOOST_TEST(one.second.data()[0] == 0.984375);
}

BOOST_AUTO_TEST_CASE(what_does_not_decay_moves_by_its_moments_alone) {
  Element one;
  const AdamwStep step{.number = 1, .rate = 0.5, .clip = 1, .decays = false};
  BOOST_TEST(one.step(kRule, step, 1.5) == 0.7, boost::test_tools::tolerance(1e-15));
}

// The decay is of the weight before the step, scaled by the rate: at rate 0 nothing moves but the
// moments.
BOOST_AUTO_TEST_CASE(at_rate_0_the_weight_stays) {
  Element one;
  BOOST_TEST(one.step(kRule, {.number = 1, .rate = 0, .clip = 1, .decays = true}, 7.0) == 1.0);
  BOOST_TEST(one.first.data()[0] == 3.5);
}

BOOST_AUTO_TEST_CASE(a_rule_out_of_range_is_refused) {
  check_refused([] { validate(AdamwRule{.beta1 = 1}, "trainer"); },
                "trainer: beta1: expected 0 or more and less than 1, got 1");
  check_refused([] { validate(AdamwRule{.beta2 = std::nan("")}, "trainer"); },
                "trainer: beta2: expected 0 or more and less than 1, got nan");
  check_refused([] { validate(AdamwRule{.eps = 0}, "trainer"); },
                "trainer: eps: expected a positive number, got 0");
  check_refused([] { validate(AdamwRule{.weight_decay = -1}, "trainer"); },
                "trainer: weight_decay: expected 0 or more, got -1");
  check_refused([] { validate(AdamwRule{.max_norm = INFINITY}, "trainer"); },
                "trainer: max_norm: expected 0 (no clipping) or more, got inf");
}

// Four steps up to 8, then half a cosine over steps 4 .. 8 from 8 to 2: 2 + 3 (1 + cos(k pi / 4)).
BOOST_AUTO_TEST_CASE(rates_rise_linearly_and_fall_by_half_a_cosine) {
  const Schedule schedule{.peak = 8, .floor = 2, .warmup = 4, .steps = 9};
  const std::vector<double> expected{
      2, 4, 6, 8, 8, 5 + 3 * std::sqrt(0.5), 5, 5 - 3 * std::sqrt(0.5), 2, 2, 2};
  for (std::size_t s = 0; s < expected.size(); ++s) {
    BOOST_TEST(learning_rate(schedule, static_cast<int64_t>(s)) == expected[s],
               boost::test_tools::tolerance(1e-14));
  }
}

BOOST_AUTO_TEST_CASE(rates_at_the_ends) {
  BOOST_TEST(learning_rate({.peak = 3, .floor = 1, .warmup = 0, .steps = 1}, 0) == 3);
  BOOST_TEST(learning_rate({.peak = 3, .floor = 3, .warmup = 0, .steps = 10}, 7) == 3);
  BOOST_TEST(learning_rate({.peak = 3, .floor = 1, .warmup = 2, .steps = 2}, 1) == 3);
  BOOST_TEST(learning_rate({.peak = 3, .floor = 1, .warmup = 2, .steps = 2}, 2) == 1);
  BOOST_TEST(learning_rate({.peak = 3, .floor = 1, .warmup = 2, .steps = 3}, 2) == 3);
}

BOOST_AUTO_TEST_CASE(a_schedule_out_of_range_is_refused) {
  check_refused([] { validate(Schedule{.peak = -1}, "schedule"); },
                "schedule: peak: expected 0 or more, got -1");
  check_refused([] { validate(Schedule{.peak = 1, .floor = 2}, "schedule"); },
                "schedule: floor: expected 0 .. the peak, 1, got 2");
  check_refused([] { validate(Schedule{.steps = 0}, "schedule"); },
                "schedule: steps: expected 1 or more, got 0");
  check_refused([] { validate(Schedule{.warmup = 11, .steps = 10}, "schedule"); },
                "schedule: warmup: expected 0 .. the steps, 10, got 11");
}
