// Dropout from counters: the same mask whenever and however it is computed.
#include "reference/training/dropout.h"

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "reference/methods/dropout.h"
#include "rows.h"

using namespace assay;
using namespace assay::reference;
using namespace assay::reference::testing;

namespace {

constexpr Dropout kQuarter{.rate = 0.25, .seed = 3};

Trainer trainer_with(const ModelConfig& config, const Dropout& dropout, Keep keep = Keep::all) {
  return Trainer(config, golden::SyntheticWeights(config, 7), {.eps = 1e-4}, keep, dropout);
}

TrainingStep step_on(Trainer& trainer, const Rows& rows, double rate = 0.01) {
  trainer.accumulate(rows.view());
  return trainer.step(rate);
}

// Loss of the graph with dropout, its masks given by the name of their input.
double loss_with(const ModelConfig& config, const Values& weights, const Rows& rows,
                 const std::function<double(const std::string&)>& mask) {
  const auto graph = build_with_dropout(config, rows.B, rows.T);
  const Trainer trainer(config, HeldWeights(weights));
  const Bindings plain = trainer.bindings(rows.view());
  const Bindings bindings = [&](const NodeData& input) {
    if (!input.name.starts_with("dropout/")) return plain(input);
    Array array = Array::uninitialized(input.shape());
    std::fill(array.values().begin(), array.values().end(), mask(input.name));
    return array;
  };
  Collector values;
  evaluate(*graph, bindings, values);
  return values.tensors.at("loss").values[0];
}

}  // namespace

// 2^16 elements: the share of zeros is 1/4 within 6 standard deviations of 0.0017.
BOOST_AUTO_TEST_CASE(a_mask_is_a_function_of_seed_step_branch_and_element) {
  const std::string branch = "dropout/layers/2/attn";
  std::vector<double> mask(1 << 16), other(mask.size());
  dropout_mask(kQuarter, 5, branch, 0, mask);
  double zeros = 0;
  for (const double value : mask) {
    BOOST_REQUIRE((value == 0 || value == 1 / 0.75));
    zeros += value == 0 ? 1 : 0;
  }
  BOOST_TEST(std::fabs(zeros / static_cast<double>(mask.size()) - 0.25) < 0.0102);
  for (const uint64_t first : {1, 2, 3, 4, 1001}) {
    std::vector<double> part(100);
    dropout_mask(kQuarter, 5, branch, first, part);
    BOOST_TEST(std::equal(part.begin(), part.end(), mask.begin() + static_cast<int64_t>(first)));
  }
  dropout_mask(kQuarter, 6, branch, 0, other);
  BOOST_TEST((other != mask));
  dropout_mask(kQuarter, 5, "dropout/layers/2/mlp", 0, other);
  BOOST_TEST((other != mask));
  dropout_mask({.rate = 0.25, .seed = 4}, 5, branch, 0, other);
  BOOST_TEST((other != mask));
}

// Masks of 1 change nothing; a branch whose mask is 0 is one whose projection has only zeros.
BOOST_AUTO_TEST_CASE(masks_stand_on_the_residual_branches) {
  const ModelConfig config = ragged_config("plain");
  const Rows rows(config, 2, 7, 3);
  Trainer trainer = trainer_with(config, {});
  const Values weights = weights_of(trainer);
  const double plain = step_on(trainer, rows, 0).loss;
  BOOST_TEST(loss_with(config, weights, rows, [](const std::string&) { return 1.0; }) == plain);
  for (const auto& row :
       {std::pair{"dropout/layers/1/attn", "model.layers.1.self_attn.o_proj.weight"},
        {"dropout/layers/1/mlp", "model.layers.1.mlp.down_proj.weight"}}) {
    const std::string branch = row.first, projection = row.second;
    Values without = weights;
    std::fill(without.at(projection).begin(), without.at(projection).end(), 0.0);
    Trainer cut(config, HeldWeights(without));
    const double expected = step_on(cut, rows, 0).loss;
    BOOST_TEST(expected != plain);
    const double got = loss_with(
        config, weights, rows, [&](const std::string& name) { return name == branch ? 0.0 : 1.0; });
    BOOST_TEST(got == expected, boost::test_tools::tolerance(1e-14));
  }
}

BOOST_AUTO_TEST_CASE(masks_computed_again_are_the_same) {
  for (const ModelConfig& config : every_method()) {
    BOOST_TEST_INFO_SCOPE(title(config));
    const Rows rows(config, 2, 7, 3);
    std::vector<Values> ends;
    std::vector<double> losses;
    for (const Keep keep : {Keep::all, Keep::shared, Keep::inputs}) {
      Trainer trainer = trainer_with(config, kQuarter, keep);
      step_on(trainer, rows);
      losses.push_back(step_on(trainer, rows).loss);
      ends.push_back(weights_of(trainer));
    }
    BOOST_TEST((ends[0] == ends[1]));
    BOOST_TEST((ends[0] == ends[2]));
    BOOST_TEST(losses[0] == losses[2]);
    Trainer plain = trainer_with(config, {});
    step_on(plain, rows);
    BOOST_TEST(step_on(plain, rows).loss != losses[0]);
  }
}

// Every step has masks of its own: at rate 0 the weights stay, and the loss moves all the same.
BOOST_AUTO_TEST_CASE(steps_have_other_masks_and_micro_batches_the_same) {
  const ModelConfig config = ragged_config("3.2");
  const Rows all(config, 4, 7, 5);
  Trainer whole = trainer_with(config, kQuarter), parts = trainer_with(config, kQuarter);
  std::vector<double> losses;
  for (int step = 0; step < 3; ++step) {
    losses.push_back(step_on(whole, all, 0).loss);
    for (const auto& [first, count] : {std::pair{0, 1}, {1, 2}, {3, 1}}) {
      parts.accumulate(all.some(first, count).view());
    }
    BOOST_TEST(parts.step(0).loss == losses.back(), boost::test_tools::tolerance(1e-14));
  }
  BOOST_TEST(losses[0] != losses[1]);
  BOOST_TEST(losses[1] != losses[2]);
}

BOOST_AUTO_TEST_CASE(a_restored_trainer_draws_the_same_masks) {
  const ModelConfig config = ragged_config("1");
  const Rows rows(config, 2, 7, 3);
  Trainer whole = trainer_with(config, kQuarter), again = trainer_with(config, kQuarter);
  for (int step = 0; step < 2; ++step) step_on(whole, rows);
  const Moments moments = moments_of(whole);
  again.accumulate(rows.view());
  again.restore(HeldWeights(weights_of(whole)), HeldWeights(moments.first),
                HeldWeights(moments.second), whole.steps());
  BOOST_TEST(step_on(again, rows).loss == step_on(whole, rows).loss);
  BOOST_TEST((weights_of(again) == weights_of(whole)));
}

BOOST_AUTO_TEST_CASE(what_has_no_dropout_is_refused) {
  const auto refused = [](const ModelConfig& config, double rate, const std::string& message) {
    BOOST_CHECK_EXCEPTION(trainer_with(config, {.rate = rate, .seed = 1}), InputError,
                          [&](const InputError& error) {
                            BOOST_TEST(error.what() == message);
                            return true;
                          });
  };
  refused(ragged_config("plain"), 1, "trainer: dropout: expected 0 or more and less than 1, got 1");
  refused(pt_config(), 0.5, "dropout: method pt has no residual branches: expected 0 with it");
}
