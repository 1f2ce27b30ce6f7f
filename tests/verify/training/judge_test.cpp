// Every verdict from evidence that calls for it, and none from evidence that does not.
#include "verify/training/judge.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <ostream>
#include <random>

namespace assay::verify::training {

std::ostream& operator<<(std::ostream& out, Verdict verdict) {
  return out << verdict_name(verdict);
}

namespace {

constexpr int64_t kRows = 64, kPositions = 64;
constexpr double kOracle = 2.0;  // nats a token, on average

// Losses around an oracle that varies from token to token: `excess` above it on average.
TokenSet set_of(double excess, unsigned seed, double spread = 0.1) {
  std::mt19937_64 random(seed);
  std::exponential_distribution<double> surprise(1 / kOracle);
  std::normal_distribution<double> noise(0, spread);
  TokenSet set;
  set.path = "test";
  set.rows = kRows;
  set.positions = kPositions;
  for (int64_t i = 0; i < kRows * kPositions; ++i) {
    set.oracle.push_back(surprise(random));
    const double e = noise(random) + spread * spread / 2;  // E exp(-e) = 1
    set.losses.push_back(std::max(1e-4, set.oracle.back() + excess + e));
  }
  set.counted.assign(set.losses.size(), 1);
  set.loss_resolution = resolution_of(set.losses);
  return set;
}

Evidence three_sets(double train, double val, double fresh) {
  Evidence evidence;
  evidence.oracle = "test";
  evidence.rate = OracleRate{kOracle, 0, false};
  evidence.sets[kTrain] = set_of(train, 1);
  evidence.sets[kVal] = set_of(val, 2);
  evidence.sets[kFresh] = set_of(fresh, 3);
  return evidence;
}

Series series_of(std::vector<double> values) {
  Series series;
  for (std::size_t i = 0; i < values.size(); ++i) {
    series.add(10.0 * static_cast<double>(i + 1), values[i]);
  }
  return series;
}

// From `from` towards `to`, with noise.
std::vector<double> falling(double from, double to, int points, unsigned seed,
                            double spread = 0.01) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> noise(0, spread);
  std::vector<double> values;
  for (int i = 0; i < points; ++i) {
    values.push_back(to + (from - to) * std::exp(-6.0 * i / points) + noise(random));
  }
  return values;
}

Evidence curves(std::vector<double> train, std::vector<double> val) {
  Evidence evidence;
  evidence.curve.format = "test";
  evidence.curve.train = series_of(std::move(train));
  evidence.curve.val = series_of(std::move(val));
  return evidence;
}

bool has_flag(const Judgement& judgement, Verdict verdict) {
  for (const Flag& flag : judgement.flags) {
    if (flag.verdict == verdict) return true;
  }
  return false;
}

Verdict verdict_of(const Evidence& evidence) { return judge(evidence).verdict; }

BOOST_AUTO_TEST_CASE(three_sets_near_the_oracle_are_healthy) {
  const Judgement judgement = judge(three_sets(0.005, 0.005, 0.005));
  BOOST_TEST(judgement.verdict == Verdict::healthy);
  BOOST_TEST(judgement.flags.empty());
  BOOST_TEST(verdict_exit_code(judgement.verdict) == 0);
}

BOOST_AUTO_TEST_CASE(verdicts_of_the_three_sets) {
  BOOST_TEST(verdict_of(three_sets(0.3, 0.3, 0.3)) == Verdict::underfit);
  BOOST_TEST(verdict_of(three_sets(-1, 0.5, 0.5)) == Verdict::overfit);
  BOOST_TEST(verdict_of(three_sets(-1, -0.5, 0.5)) == Verdict::eval_contamination);
  BOOST_TEST(verdict_of(three_sets(-0.5, -0.5, -0.5)) == Verdict::leak_behavioural);
}

// Val is better than fresh without beating the oracle: the difference c alone says so.
BOOST_AUTO_TEST_CASE(partly_seen_val_is_contamination) {
  BOOST_TEST(verdict_of(three_sets(0.2, 0.2, 0.5)) == Verdict::eval_contamination);
}

// A model that leaks and overfits: the leak comes first, the gap is a flag.
BOOST_AUTO_TEST_CASE(leak_and_overfit_is_a_leak) {
  const Judgement judgement = judge(three_sets(-1.8, -0.6, -0.6));
  BOOST_TEST(judgement.verdict == Verdict::leak_behavioural);
  BOOST_TEST(has_flag(judgement, Verdict::overfit));
}

// The own-training-tokens trap: train far below the oracle is no leak.
BOOST_AUTO_TEST_CASE(beaten_training_tokens_alone_are_no_leak) {
  const Judgement judgement = judge(three_sets(-0.04, 0.004, 0.004));
  BOOST_TEST(judgement.code[kTrain].log_e > std::log(1e6));
  BOOST_TEST(judgement.verdict == Verdict::healthy);
}

BOOST_AUTO_TEST_CASE(what_is_missing_is_never_healthy) {
  for (const Set missing : {kTrain, kVal, kFresh}) {
    Evidence evidence = three_sets(0.005, 0.005, 0.005);
    evidence.sets[missing] = {};
    const Judgement judgement = judge(evidence);
    BOOST_TEST(judgement.verdict == Verdict::insufficient);
    BOOST_TEST(!judgement.supply.empty());
  }
  Evidence without = three_sets(0.005, 0.005, 0.005);
  for (TokenSet& set : without.sets) set.oracle.clear();
  without.rate.reset();
  BOOST_TEST(verdict_of(without) == Verdict::insufficient);
  BOOST_TEST(verdict_exit_code(Verdict::insufficient) == 3);
}

// Val is impossible, and nothing tells a leak from contamination.
BOOST_AUTO_TEST_CASE(beaten_val_without_fresh_is_a_suspicion) {
  Evidence evidence = three_sets(-1, -0.5, 0);
  evidence.sets[kFresh] = {};
  BOOST_TEST(verdict_of(evidence) == Verdict::leak_suspected);
}

BOOST_AUTO_TEST_CASE(few_tokens_are_not_enough_for_health) {
  Evidence evidence = three_sets(0.005, 0.005, 0.005);
  for (TokenSet& set : evidence.sets) {
    set.rows = 2;
    for (auto* values : {&set.losses, &set.oracle}) values->resize(2 * kPositions);
    set.counted.resize(2 * kPositions);
  }
  BOOST_TEST(verdict_of(evidence) == Verdict::insufficient);
}

// The oracle of other tokens: no leak is to be claimed by it.
BOOST_AUTO_TEST_CASE(wrong_oracle_claims_nothing) {
  Evidence evidence = three_sets(0.005, 0.005, 0.005);
  for (TokenSet& set : evidence.sets) {
    for (double& value : set.oracle) value = 4;
    for (std::size_t i = 0; i < set.size(); ++i) {
      set.targets.push_back(static_cast<int32_t>(i % 7 == 0 ? i % 50 : 1));
    }
  }
  const Judgement judgement = judge(evidence);
  BOOST_TEST(judgement.verdict == Verdict::insufficient);
  BOOST_TEST(judgement.reason.find("oracle") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(losses_that_are_no_numbers_diverge) {
  for (const double bad : {NAN, INFINITY}) {
    Evidence evidence = three_sets(0.005, 0.005, 0.005);
    evidence.sets[kFresh].losses[5] = bad;
    BOOST_TEST(verdict_of(evidence) == Verdict::diverging);
    evidence.sets[kFresh].counted[5] = 0;  // padding
    BOOST_TEST(verdict_of(evidence) == Verdict::healthy);
  }
}

BOOST_AUTO_TEST_CASE(probabilities_above_one_are_a_leak_of_labels) {
  Evidence evidence = three_sets(0.005, 0.005, 0.005);
  evidence.sets[kVal].losses[7] = -0.5;
  BOOST_TEST(verdict_of(evidence) == Verdict::leak_labels);
  evidence = three_sets(0.005, 0.005, 0.005);
  evidence.sets[kFresh].probability_sums.assign(evidence.sets[kFresh].size(), 1.0);
  BOOST_TEST(verdict_of(evidence) == Verdict::healthy);
  evidence.sets[kFresh].probability_sums[3] = 1.3;
  BOOST_TEST(verdict_of(evidence) == Verdict::leak_labels);
}

// Logits that predict the token itself: the reported loss is l(0), and not l(1).
BOOST_AUTO_TEST_CASE(shifted_labels_are_a_shift_error) {
  Logits logits{4, 16, 8, {}, {}, false};
  std::mt19937_64 random(4);
  for (int i = 0; i < 64; ++i) logits.tokens.push_back(static_cast<int32_t>(random() % 8));
  for (int i = 0; i < 64; ++i) {
    for (int v = 0; v < 8; ++v) logits.values.push_back(v == logits.tokens[i] ? 5.0 : 0.01 * v);
  }
  Evidence evidence;
  evidence.sets[kFresh].logits = logits;
  const OffsetProfile profile = offset_profile(logits, std::nullopt, 0);
  evidence.sets[kFresh].reported_loss = profile.loss(0);
  BOOST_TEST(verdict_of(evidence) == Verdict::shift_error);
  evidence.sets[kFresh].reported_loss = profile.loss(1);
  BOOST_TEST(verdict_of(evidence) == Verdict::insufficient);
  evidence.sets[kFresh].reported_loss = profile.loss(1) * 15 / 16;  // Hugging Face's quirk
  BOOST_TEST(verdict_of(evidence) == Verdict::insufficient);
}

BOOST_AUTO_TEST_CASE(structural_detector_comes_first) {
  Evidence evidence = three_sets(-0.5, -0.5, -0.5);
  evidence.structural = StructuralLeak{"leak.json", "prefix: layers/0/attn/probs sees 5 from 3"};
  const Judgement judgement = judge(evidence);
  BOOST_TEST(judgement.verdict == Verdict::leak_structural);
  BOOST_TEST(has_flag(judgement, Verdict::leak_behavioural));
}

// 100 parameters of 16 bits cannot hold 4,096 tokens of 2 nats.
BOOST_AUTO_TEST_CASE(more_than_parameters_can_hold_is_a_suspicion) {
  Evidence evidence = three_sets(-1.9, 0, 0);
  evidence.parameters = 100;
  const Judgement judgement = judge(evidence);
  BOOST_TEST(judgement.verdict == Verdict::overfit);
  BOOST_TEST(has_flag(judgement, Verdict::leak_suspected));
  evidence.sets[kVal] = evidence.sets[kFresh] = {};
  BOOST_TEST(verdict_of(evidence) == Verdict::leak_suspected);
  evidence.parameters = 1000000;
  BOOST_TEST(verdict_of(evidence) == Verdict::insufficient);
}

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
