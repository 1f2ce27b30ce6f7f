// What curves are judged to be, alone and beside an oracle.
#include <boost/test/unit_test.hpp>

#include "tests/verify/training/made_evidence.h"

namespace assay::verify::training {
namespace {

BOOST_AUTO_TEST_CASE(curves_alone) {
  BOOST_TEST(verdict_of(curves(falling(5, 2, 100, 1), falling(5, 2.02, 20, 2))) ==
             Verdict::insufficient);
  BOOST_TEST(verdict_of(curves(falling(5, 0.12, 100, 1), falling(5, 0.89, 20, 2))) ==
             Verdict::overfit);
  std::vector<double> val = falling(5, 2, 20, 2);
  for (std::size_t i = 10; i < val.size(); ++i) val[i] += 0.1 * static_cast<double>(i - 9);
  BOOST_TEST(verdict_of(curves(falling(5, 1.9, 100, 1), val)) == Verdict::overfit);
}

// Both near 0: an easy source, a leak and contamination look alike.
BOOST_AUTO_TEST_CASE(curves_near_zero_are_insufficient) {
  const Judgement judgement =
      judge(curves(falling(5, 0.002, 100, 1, 1e-4), falling(5, 0.003, 20, 2, 1e-4)));
  BOOST_TEST(judgement.verdict == Verdict::insufficient);
  BOOST_TEST(!judgement.supply.empty());
  BOOST_TEST(!judgement.notes.empty());
}

// The same with the oracle: val is impossible.
BOOST_AUTO_TEST_CASE(val_curve_below_the_oracle_is_a_suspicion) {
  Evidence evidence = curves(falling(5, 0.12, 100, 1), falling(5, 0.89, 20, 2));
  evidence.rate = OracleRate{1.94, 0, false};
  const Judgement judgement = judge(evidence);
  BOOST_TEST(judgement.verdict == Verdict::leak_suspected);
  BOOST_TEST(has_flag(judgement, Verdict::overfit));
}

BOOST_AUTO_TEST_CASE(curves_that_blow_up_diverge) {
  std::vector<double> train = falling(5, 2, 60, 1);
  std::vector<double> broken = train;
  broken.push_back(NAN);
  BOOST_TEST(verdict_of(curves(broken, {})) == Verdict::diverging);
  std::vector<double> rising = train;
  for (int i = 0; i < 20; ++i) rising.push_back(2 + 0.15 * i);
  BOOST_TEST(verdict_of(curves(rising, {})) == Verdict::diverging);
  std::vector<double> high = falling(5, 7.5, 60, 1);
  Evidence evidence = curves(high, {});
  evidence.vocab = 256;
  BOOST_TEST(verdict_of(evidence) == Verdict::diverging);
}

// A spike, a NaN of one step, a gradient norm of one step: what recovers is no divergence.
BOOST_AUTO_TEST_CASE(spikes_that_recover_are_noted) {
  std::vector<double> train = falling(5, 2, 100, 1);
  train[40] = 9;
  train[41] = 7;
  train[60] = NAN;
  Evidence evidence = curves(train, falling(5, 2, 20, 2));
  evidence.curve.grad_norm = series_of(falling(2, 1, 100, 3));
  evidence.curve.grad_norm.values[40] = INFINITY;
  evidence.curve.grad_norm.values[41] = 60;
  evidence.vocab = 256;
  BOOST_TEST(verdict_of(evidence) == Verdict::insufficient);
}

// An overfit run on random tokens: its val is far above log V, and it does not diverge.
BOOST_AUTO_TEST_CASE(val_above_log_v_is_overfit) {
  std::vector<double> val = falling(5.6, 5.55, 20, 2);
  for (std::size_t i = 5; i < val.size(); ++i) val[i] += 0.4 * static_cast<double>(i - 4);
  Evidence evidence = curves(falling(5.6, 0.02, 100, 1), val);
  evidence.vocab = 256;
  BOOST_TEST(verdict_of(evidence) == Verdict::overfit);
}

// Late generalisation: val was bad for long and is solved at the end.
BOOST_AUTO_TEST_CASE(late_generalisation_is_not_overfit) {
  std::vector<double> val;
  for (int i = 0; i < 40; ++i) val.push_back(i < 25 ? 4.0 + 0.02 * i : 0.01);
  const Verdict verdict = verdict_of(curves(falling(4, 0.01, 100, 1, 1e-3), val));
  BOOST_TEST(verdict == Verdict::insufficient);
}

BOOST_AUTO_TEST_CASE(dead_curves_are_degenerate) {
  BOOST_TEST(verdict_of(curves(std::vector<double>(20, 0.0), {})) == Verdict::degenerate);
  Evidence stuck = curves(std::vector<double>(20, 5.545177), {});
  BOOST_TEST(verdict_of(stuck) == Verdict::degenerate);
  Evidence still = curves(falling(5, 4, 20, 1), {});
  still.curve.grad_norm = series_of(std::vector<double>(20, 0.0));
  BOOST_TEST(verdict_of(still) == Verdict::degenerate);
}

// The curve's val is above the rate of the source, which rows without a past cannot reach: the
// oracle of their own tokens counts.
BOOST_AUTO_TEST_CASE(short_rows_cost_more_than_the_rate) {
  Evidence evidence = three_sets(0, 0, 0);
  evidence.curve.train = series_of(falling(5, kOracle + 0.2, 40, 1));
  evidence.curve.val = series_of(falling(5, kOracle + 0.2, 20, 2));
  BOOST_TEST(verdict_of(evidence) == Verdict::healthy);
  for (TokenSet& set : evidence.sets) set = {};
  BOOST_TEST(verdict_of(evidence) == Verdict::underfit);
  evidence.rate->of_rows = kOracle + 0.2;
  BOOST_TEST(verdict_of(evidence) == Verdict::insufficient);
}

// A learning rate of 3 that decays to 0: the loss falls at the end, from where it had climbed to,
// and is worse than that of no model at all. One that falls from where it began only learns.
BOOST_AUTO_TEST_CASE(what_climbed_and_is_still_high_diverges) {
  const std::vector<double> seen{234.6, 431.4, 466.3, 574.1, 589.6, 436.0, 423.8, 292.2,
                                 249.3, 199.3, 174.0, 149.8, 197.4, 154.3, 122.4, 119.5,
                                 88.78, 78.20, 63.56, 60.27, 41.75, 36.80, 29.60, 25.28};
  Evidence evidence = curves(seen, {287.1, 889.6, 511.3, 228.6, 178.3, 122.1, 120.3, 93.02});
  evidence.vocab = 16;
  BOOST_TEST(verdict_of(evidence) == Verdict::diverging);
  evidence = curves({seen.begin() + 4, seen.end()}, {});
  evidence.vocab = 16;
  BOOST_TEST(verdict_of(evidence) == Verdict::insufficient);
}

// A mask that counts no label: every loss is exactly 0, from the first step on. That beats any
// oracle, and is no leak; without that beginning it may be one.
BOOST_AUTO_TEST_CASE(losses_of_no_token_are_degenerate) {
  Evidence evidence = three_sets(0, 0, 0);
  for (TokenSet& set : evidence.sets) set.losses.assign(set.losses.size(), 0.0);
  BOOST_TEST(verdict_of(evidence) == Verdict::leak_behavioural);
  evidence.curve.train = series_of(falling(5, 0.01, 20, 1));
  BOOST_TEST(verdict_of(evidence) == Verdict::leak_behavioural);
  evidence.curve.train = series_of(std::vector<double>(20, 0.0));
  BOOST_TEST(verdict_of(evidence) == Verdict::degenerate);
  evidence.sets[kFresh] = {};
  BOOST_TEST(verdict_of(evidence) == Verdict::degenerate);
  evidence.sets[kFresh] = set_of(-0.5, 3);
  BOOST_TEST(verdict_of(evidence) == Verdict::leak_behavioural);
}

// 0.0000 in a log of 4 decimals is no exact zero.
BOOST_AUTO_TEST_CASE(rounded_zero_is_not_degenerate) {
  Evidence evidence = curves({2.3, 1.1, 0.2, 0.0123, 0.0, 0.0, 0.0}, {2.3, 0.3, 0.0});
  evidence.curve.train.half_step = evidence.curve.val.half_step = 5e-5;
  BOOST_TEST(verdict_of(evidence) == Verdict::insufficient);
  evidence.curve.train.half_step = 0;
  BOOST_TEST(verdict_of(evidence) == Verdict::degenerate);
}

// Hugging Face's training loss is lower by (T-1)/T: no gap of it.
BOOST_AUTO_TEST_CASE(scaled_training_loss_is_no_gap) {
  std::vector<double> train = falling(5.6, 5.545, 100, 1, 1e-3);
  for (double& loss : train) loss *= 31.0 / 32;
  Evidence evidence = curves(train, falling(5.6, 5.545, 20, 2, 1e-3));
  BOOST_TEST(verdict_of(evidence) == Verdict::overfit);
  evidence.curve.may_be_scaled = true;
  BOOST_TEST(verdict_of(evidence) == Verdict::insufficient);
}

// Nor is its val loss impossible for being lower than the oracle by that factor.
BOOST_AUTO_TEST_CASE(scaled_val_loss_is_not_below_the_oracle) {
  Evidence evidence = curves(falling(4.2, 4.03, 50, 1, 1e-3), falling(4.2, 4.03, 20, 2, 1e-3));
  evidence.rate = OracleRate{std::log(64.0), 0, true};
  BOOST_TEST(verdict_of(evidence) == Verdict::leak_suspected);
  evidence.curve.may_be_scaled = true;
  BOOST_TEST(verdict_of(evidence) == Verdict::insufficient);
  evidence.positions = 32;
  BOOST_TEST(verdict_of(evidence) == Verdict::insufficient);
  evidence.positions = 1024;
  BOOST_TEST(verdict_of(evidence) == Verdict::leak_suspected);
}

// In the first epoch each batch is scored before it is learned.
BOOST_AUTO_TEST_CASE(first_epoch_below_the_oracle_is_a_leak) {
  Evidence evidence = curves(falling(5.6, 5.4, 50, 1, 1e-3), {});
  evidence.rate = OracleRate{std::log(256.0), 0, true};
  evidence.tokens_per_step = 1000;
  BOOST_TEST(verdict_of(evidence) == Verdict::insufficient);
  evidence.one_epoch = true;
  BOOST_TEST(verdict_of(evidence) == Verdict::leak_behavioural);
  evidence.curve.may_be_scaled = true;  // by an unknown T: nothing is claimed
  BOOST_TEST(verdict_of(evidence) == Verdict::insufficient);
}

// One loss for each token wherever it stands, while the oracle depends on the context.
BOOST_AUTO_TEST_CASE(constant_output_is_degenerate) {
  Evidence evidence = three_sets(0, 0, 0);
  for (TokenSet& set : evidence.sets) {
    for (std::size_t i = 0; i < set.size(); ++i) {
      set.targets.push_back(static_cast<int32_t>(i * 7919 % 16));
      set.losses[i] = 2.8 + 0.01 * (set.targets.back() % 4);
    }
  }
  BOOST_TEST(verdict_of(evidence) == Verdict::degenerate);
}

}  // namespace
}  // namespace assay::verify::training
