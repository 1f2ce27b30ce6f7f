// The code-length test: how often legitimate learners set it off, and how soon leaks do.
#include "verify/training/code_length.h"

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "tests/verify/training/learners.h"
#include "verify/training/statistics.h"

namespace tt = boost::test_tools;

namespace assay::verify::training {
namespace {

// 1,000 learners of each kind: at a = 0.1 no more alarms than Ville's bound gives, at 0.01 no more
// by more than chance. bench/code_length_bench.cpp has 20,000 with 5,000 tokens each.
BOOST_AUTO_TEST_CASE(legitimate_learners_set_it_off_no_oftener_than_stated) {
  constexpr int kRuns = 1000;
  std::mt19937_64 random(20260101);
  for (const learners::Kind kind : learners::kKinds) {
    int tenth = 0, hundredth = 0;
    for (int run = 0; run < kRuns; ++run) {
      const double log_e = learners::highest_log_e(kind, 4, 800, 100, random);
      tenth += log_e >= std::log(10.0) ? 1 : 0;
      hundredth += log_e >= std::log(100.0) ? 1 : 0;
    }
    BOOST_TEST(tenth <= 100);
    BOOST_TEST(hundredth <= 10 + 3 * std::sqrt(10.0));
  }
}

BOOST_AUTO_TEST_CASE(leaks_are_proven_within_few_tokens) {
  const auto within = [](int64_t most, int64_t tokens) { return tokens > 0 && tokens <= most; };
  BOOST_TEST(within(4, learners::tokens_to_alarm(1, 256, 1e-6, -1, 0)));
  BOOST_TEST(within(8, learners::tokens_to_alarm(0.1, 256, 1e-6, -1, 0)));
  BOOST_TEST(within(20, learners::tokens_to_alarm(0.01, 256, 1e-6, -1, 0)));
  BOOST_TEST(within(1500, learners::tokens_to_alarm(0.01, 256, 1e-6, 17, 0.02)));
}

TokenSet set_of(int64_t rows, int64_t positions, double oracle) {
  TokenSet set;
  set.rows = rows;
  set.positions = positions;
  set.losses.assign(static_cast<std::size_t>(rows * positions), oracle);
  set.oracle = set.losses;
  set.counted.assign(set.losses.size(), 1);
  return set;
}

// A gain at position 17 of 64 alone, while the rest loses: the stratum is named.
BOOST_AUTO_TEST_CASE(stratum_is_named) {
  TokenSet set = set_of(64, 128, 5.5);
  for (std::size_t i = 0; i < set.size(); ++i) set.losses[i] += i % 64 == 17 ? -1.2 : 0.02;
  const CodeLength code = code_length(set, std::log(1e6));
  BOOST_TEST(code.log_e > std::log(1e6));
  BOOST_TEST(code.best.name == "positions 17 modulo 64");
  BOOST_TEST(code.alarm_token > 0);
}

// What is left out does not count; a loss equal to the oracle gains nothing, at any precision.
BOOST_AUTO_TEST_CASE(rounding_is_no_gain) {
  TokenSet set = set_of(100, 100, std::log(256.0));
  // log 256 = 5.5452 as bfloat16: each token would seem to gain 0.0139, 139 nats in all.
  for (double& loss : set.losses) loss = 5.53125;
  set.loss_resolution = {};
  BOOST_TEST(code_length(set, 13.8).log_e > 100);
  set.losses.front() = 0.0054931640625;  // no decimals, but a bfloat16
  set.loss_resolution = resolution_of(set.losses);
  set.losses.front() = 5.53125;
  BOOST_TEST(set.loss_resolution.what == "bfloat16");
  BOOST_TEST(code_length(set, 13.8).log_e < 0);
  set.counted.assign(set.size(), 0);
  BOOST_TEST(!code_length(set, 13.8).ran);
}

BOOST_AUTO_TEST_CASE(resolution_is_read_from_the_values) {
  const auto of = [](const std::vector<double>& values) { return resolution_of(values).what; };
  BOOST_TEST(of({2.31, 0.05, 1.0}) == "2 decimals");
  BOOST_TEST(of({2.3101, 0.05, 1.0}) == "4 decimals");
  BOOST_TEST(of({static_cast<double>(2.3101f), static_cast<double>(0.05f)}) == "4 decimals");
  BOOST_TEST(of({2.34375, 0.0054931640625}) == "bfloat16");
  BOOST_TEST(of({2.341796875, 0.0054931640625}) == "float16");
  BOOST_TEST(of({static_cast<double>(std::log(3.0f)), static_cast<double>(0.1234567f)}) ==
             "float32");
  BOOST_TEST(of({std::log(3.0), 0.123456789}) == "float64");
  BOOST_TEST(resolution_of(std::vector<double>{5.5452, 5.5451}).absolute == 5e-5,
             tt::tolerance(1e-12));
}

// n = log(1/a) / delta without any spread; more with it.
BOOST_AUTO_TEST_CASE(tokens_needed_by_hand) {
  BOOST_TEST(tokens_needed(0.5, 0, 13.8, 2.33) == 27.6, tt::tolerance(1e-12));
  BOOST_TEST(tokens_needed(0.5, 1, 13.8, 2.33) > 27.6);
}

// Student's t for the same tail, from tables: t_7 at 0.001 is 4.785, t_30 at 0.001 is 3.385.
BOOST_AUTO_TEST_CASE(few_rows_need_more_sigmas) {
  const double z = 3.090232306167813;  // 0.001 of a normal law
  BOOST_TEST(sigmas_of(z, 7) == 4.7853, tt::tolerance(1e-4));
  BOOST_TEST(sigmas_of(z, 30) == 3.3852, tt::tolerance(1e-4));
  BOOST_TEST(sigmas_of(4.9, 1000000) == 4.9, tt::tolerance(1e-3));
  BOOST_TEST(std::isinf(sigmas_of(4.9, 0)));
}

// Rows that differ as wholes: the error is that of the rows' means, not of the tokens.
BOOST_AUTO_TEST_CASE(tokens_of_a_row_go_together) {
  std::vector<double> values;
  std::vector<uint8_t> counted(32 * 50, 1);
  for (int row = 0; row < 32; ++row) values.insert(values.end(), 50, row % 2 == 0 ? 1.0 : 3.0);
  const Mean mean = mean_of(values, counted, 50);
  BOOST_TEST(mean.value == 2.0, tt::tolerance(1e-12));
  BOOST_TEST(mean.error == std::sqrt(1.0 / 31), tt::tolerance(1e-12));
  BOOST_TEST(mean.freedom == 31);
}

}  // namespace
}  // namespace assay::verify::training
