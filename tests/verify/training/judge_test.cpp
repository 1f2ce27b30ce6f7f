// Every verdict from evidence that calls for it, and none from evidence that does not.
#include <algorithm>
#include <boost/test/unit_test.hpp>

#include "tests/verify/training/made_evidence.h"

namespace assay::verify::training {
namespace {

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

// Rows of losses in another order than the tokens': spread as the oracle is, and unrelated to it.
BOOST_AUTO_TEST_CASE(losses_of_other_rows_claim_nothing) {
  Evidence evidence = three_sets(0.005, 0.005, 0.005);
  std::vector<double>& losses = evidence.sets[kFresh].losses;
  std::rotate(losses.begin(), losses.begin() + 5 * kPositions, losses.end());
  const Judgement judgement = judge(evidence);
  BOOST_TEST(judgement.verdict == Verdict::insufficient);
  BOOST_TEST(judgement.reason.find("another order") != std::string::npos, judgement.reason);
}

// A difference of nothing that has next to no error, as where losses take few values.
BOOST_AUTO_TEST_CASE(contamination_has_a_least_size) {
  for (const double more : {1e-5, 0.0005, 0.01}) {
    Evidence evidence = three_sets(0.005, 0.005, 0.005);
    evidence.sets[kVal] = set_of(0.005, 2, 0);
    evidence.sets[kFresh] = set_of(0.005 + more, 3, 0);
    BOOST_TEST(verdict_of(evidence) ==
               (more < 0.001 ? Verdict::healthy : Verdict::eval_contamination));
  }
}

// Losses of one value, as where the oracle is near certain: what rounds val down is no difference.
BOOST_AUTO_TEST_CASE(rounding_is_no_contamination) {
  Evidence evidence = three_sets(0, 0, 0);
  for (TokenSet& set : evidence.sets) {
    std::fill(set.losses.begin(), set.losses.end(), 2.007);
    std::fill(set.oracle.begin(), set.oracle.end(), 2.0);
  }
  std::vector<double>& val = evidence.sets[kVal].losses;
  std::fill(val.begin(), val.end(), 2.0);  // the next number of bfloat16 is 2.015625
  val.front() = 2.015625;
  evidence.sets[kVal].loss_resolution = resolution_of(val);
  BOOST_TEST(evidence.sets[kVal].loss_resolution.what == "bfloat16");
  BOOST_TEST(verdict_of(evidence) == Verdict::healthy);
}

BOOST_AUTO_TEST_CASE(fresh_tokens_that_are_val_say_nothing) {
  Evidence evidence = three_sets(0.005, 0.005, 0.005);
  evidence.fresh_is = "val";
  const Judgement judgement = judge(evidence);
  BOOST_TEST(judgement.verdict == Verdict::insufficient);
  BOOST_TEST(judgement.reason == "the fresh set is in val: it is not fresh");
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

}  // namespace
}  // namespace assay::verify::training
