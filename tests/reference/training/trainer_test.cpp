// Training in the reference: a step against AdamW in plain loops, micro-batches, clipping, what is
// not finite, restored state.
#include "reference/training/trainer.h"

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "golden/contract/error.h"
#include "rows.h"

using namespace assay;
using namespace assay::reference;
using namespace assay::reference::testing;

namespace {

TrainingStep step_on(Trainer& trainer, const Rows& rows, double rate) {
  trainer.accumulate(rows.view());
  return trainer.step(rate);
}

Trainer trainer_of(const ModelConfig& config, const AdamwRule& rule = {}) {
  return Trainer(config, golden::SyntheticWeights(config, 7), rule);
}

// Of each weight, in units of its largest number.
void check_near(const Values& got, const Values& expected, double bound) {
  for (const auto& [name, values] : expected) {
    double largest = 0, difference = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      largest = std::max(largest, std::fabs(values[i]));
      difference = std::max(difference, std::fabs(values[i] - got.at(name)[i]));
    }
    BOOST_TEST(difference <= bound * largest, name << ": " << difference << " of " << largest);
  }
}

// The gradients of the mean loss of a batch, without a trainer.
Values gradients_of(const ModelConfig& config, const Values& weights, const Rows& rows,
                    double& loss) {
  Inputs inputs{rows.B, rows.T, {}, {}, {}};
  inputs.tokens.assign(rows.tokens.begin(), rows.tokens.end());
  inputs.labels.assign(rows.labels.begin(), rows.labels.end());
  inputs.attention_mask.assign(rows.mask.begin(), rows.mask.end());
  Tensors tensors;
  for (const golden::TensorInfo& info : golden::weight_list(config)) {
    tensors[info.name] = {info.shape, weights.at(info.name)};
  }
  const auto graph = build_model(config, rows.B, rows.T);
  Collector values;
  GradientCollector gradients;
  evaluate_with_gradient(*graph, bind_model(inputs, tensors), graph->find("loss"), values,
                         gradients);
  loss = values.tensors.at("loss").values[0];
  Values result;
  for (const golden::TensorInfo& info : golden::weight_list(config)) {
    const auto found = gradients.gradients.find(info.name);
    result[info.name] = found != gradients.gradients.end()
                            ? found->second.values
                            : std::vector<double>(weights.at(info.name).size());
  }
  return result;
}

}  // namespace

// Three steps with decay, and clipping in most of them, of every method and block, against the
// equations in plain loops. The gradients of a step of one batch are those of its mean loss, bit
// for bit.
BOOST_AUTO_TEST_CASE(steps_equal_adamw_in_plain_loops) {
  const AdamwRule rule{
      .beta1 = 0.8, .beta2 = 0.97, .eps = 1e-6, .weight_decay = 0.5, .max_norm = 0.125};
  int clipped = 0, steps = 0;
  for (const ModelConfig& config : every_model()) {
    BOOST_TEST_INFO_SCOPE(title(config));
    Trainer trainer = trainer_of(config, rule);
    Values weights = weights_of(trainer), first = weights, second = weights;
    for (Values* moments : {&first, &second}) {
      for (auto& [name, values] : *moments) values.assign(values.size(), 0);
    }
    const Rows rows(config, 2, 7, 3);
    for (int n = 1; n <= 3; ++n, ++steps) {
      double loss = 0, squares = 0;
      const Values gradients = gradients_of(config, weights_of(trainer), rows, loss);
      for (const auto& [name, values] : gradients) {
        for (const double g : values) squares += g * g;
      }
      const TrainingStep report = step_on(trainer, rows, 0.01 * n);
      BOOST_TEST(report.loss == loss, boost::test_tools::tolerance(1e-15));
      BOOST_TEST(report.gradient_norm == std::sqrt(squares), boost::test_tools::tolerance(1e-13));
      const double clip = std::min(1.0, rule.max_norm / std::sqrt(squares));
      clipped += clip < 1 ? 1 : 0;
      for (const golden::TensorInfo& info : golden::weight_list(config)) {
        const auto kept = trainer.gradient(info.name);
        const std::vector<double>& own = gradients.at(info.name);
        BOOST_TEST(std::equal(kept.begin(), kept.end(), own.begin(), own.end()), info.name);
        const double decay = info.shape.size() >= 2 ? rule.weight_decay : 0;
        for (std::size_t i = 0; i < own.size(); ++i) {
          const double g = own[i] * clip;
          double &m = first[info.name][i], &v = second[info.name][i], &w = weights[info.name][i];
          m = rule.beta1 * m + (1 - rule.beta1) * g;
          v = rule.beta2 * v + (1 - rule.beta2) * g * g;
          const double m_hat = m / (1 - std::pow(rule.beta1, n));
          const double v_hat = v / (1 - std::pow(rule.beta2, n));
          w -= 0.01 * n * (m_hat / (std::sqrt(v_hat) + rule.eps) + decay * w);
        }
      }
      check_near(weights_of(trainer), weights, 1e-11);
    }
    check_near(moments_of(trainer).first, first, 1e-11);
    check_near(moments_of(trainer).second, second, 1e-11);
    BOOST_TEST(trainer.steps() == 3);
  }
  BOOST_TEST(clipped > steps / 2);
  BOOST_TEST(clipped < steps);
}

// Rows that count 2, 0 and 11 positions: a mean of means, or a sum of them, is another gradient.
BOOST_AUTO_TEST_CASE(micro_batches_with_unequal_counts_equal_one_batch) {
  const AdamwRule rule{.eps = 1e-4, .max_norm = 0.25};
  for (const ModelConfig& config : every_model(2)) {
    BOOST_TEST_INFO_SCOPE(title(config));
    Rows all(config, 4, 7, 5);
    std::fill(all.labels.begin() + 2, all.labels.begin() + 14, -100);
    std::fill(all.labels.begin() + 3, all.labels.begin() + 5, 1);
    Trainer whole = trainer_of(config, rule), parts = trainer_of(config, rule);
    for (int step = 0; step < 2; ++step) {
      const TrainingStep expected = step_on(whole, all, 0.01);
      for (const auto& [first, count] : {std::pair{0, 1}, {1, 1}, {2, 2}}) {
        parts.accumulate(all.some(first, count).view());
      }
      const TrainingStep got = parts.step(0.01);
      BOOST_TEST(got.loss == expected.loss, boost::test_tools::tolerance(1e-14));
      BOOST_TEST(got.gradient_norm == expected.gradient_norm, boost::test_tools::tolerance(1e-12));
    }
    check_near(weights_of(parts), weights_of(whole), 1e-11);
  }
}

// Steps in which a restored trainer and one that was never stopped agree in every bit,
// whatever the second one had accumulated before.
BOOST_AUTO_TEST_CASE(a_restored_trainer_goes_on_bit_for_bit) {
  const AdamwRule rule{.weight_decay = 0.1, .max_norm = 1};
  for (const ModelConfig& config : every_model(2)) {
    BOOST_TEST_INFO_SCOPE(title(config));
    const Rows rows(config, 2, 7, 3), others(config, 1, 9, 4);
    Trainer whole = trainer_of(config, rule);
    for (int step = 0; step < 3; ++step) step_on(whole, rows, 0.01);
    Trainer again = trainer_of(config, rule);
    again.accumulate(rows.view());
    const Moments moments = moments_of(whole);
    again.restore(HeldWeights(weights_of(whole)), HeldWeights(moments.first),
                  HeldWeights(moments.second), whole.steps());
    for (int step = 0; step < 2; ++step) {
      const TrainingStep expected = step_on(whole, others, 0.02);
      const TrainingStep got = step_on(again, others, 0.02);
      BOOST_TEST(got.loss == expected.loss);
      BOOST_TEST(got.gradient_norm == expected.gradient_norm);
    }
    BOOST_TEST((weights_of(again) == weights_of(whole)));
    BOOST_TEST((moments_of(again) == moments_of(whole)));
    BOOST_TEST(again.steps() == 5);
  }
}

// A weight that is infinite makes gradients that are not finite; the state stays as it is, and
// goes on once the weight is mended.
BOOST_AUTO_TEST_CASE(a_step_that_is_not_finite_changes_nothing) {
  const ModelConfig config = ragged_config("3.1");
  const Rows rows(config, 2, 7, 3);
  Trainer trainer = trainer_of(config, {.weight_decay = 0.1});
  step_on(trainer, rows, 0.01);
  Values spoilt = weights_of(trainer);
  const Moments moments = moments_of(trainer);
  spoilt["model.layers.1.mlp.up_proj.weight"][3] = INFINITY;
  trainer.restore(HeldWeights(spoilt), HeldWeights(moments.first), HeldWeights(moments.second), 1);
  const TrainingStep report = step_on(trainer, rows, 0.01);
  BOOST_TEST(report.skipped);
  BOOST_TEST(!std::isfinite(report.gradient_norm));
  BOOST_TEST((weights_of(trainer) == spoilt));
  BOOST_TEST((moments_of(trainer) == moments));
  BOOST_TEST(trainer.steps() == 1);
}

// Squares of such gradients overflow, the gradients do not.
BOOST_AUTO_TEST_CASE(the_norm_of_huge_gradients_is_finite) {
  ModelConfig config = ragged_config("plain", 1);
  const Rows rows(config, 1, 5, 3);
  Trainer trainer = trainer_of(config);
  Values weights = weights_of(trainer);
  for (double& w : weights["model.norm.weight"]) w *= 1e-170;
  for (double& w : weights["lm_head.weight"]) w *= 1e170;
  const Moments moments = moments_of(trainer);
  trainer.restore(HeldWeights(weights), HeldWeights(moments.first), HeldWeights(moments.second), 0);
  const TrainingStep report = step_on(trainer, rows, 0);
  BOOST_TEST(!report.skipped);
  BOOST_TEST(report.gradient_norm > 1e160);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_trained_is_refused) {
  const ModelConfig config = ragged_config("plain");
  const auto refused = [](const auto& body, const std::string& message) {
    BOOST_CHECK_EXCEPTION(body(), InputError, [&](const InputError& error) {
      BOOST_TEST(error.what() == message);
      return true;
    });
  };
  Trainer trainer = trainer_of(config), other = trainer_of(config);
  const Rows rows(config, 2, 7, 3);
  refused([&] { trainer.step(0.01); },
          "trainer: step: expected a counted position since the last step, got none");
  refused([&] { trainer.gradient("lm_head.weight"); },
          "weight lm_head.weight: its gradient: expected a step before it, got none");
  trainer.accumulate(rows.view());
  Rows bad = rows;
  bad.tokens[3] = 11;
  refused([&] { trainer.accumulate(bad.view()); },
          "batch: tokens at (b0,t3): expected 0 .. 10, got 11");
  bad = rows;
  bad.labels[8] = -1;
  refused([&] { trainer.accumulate(bad.view()); },
          "batch: labels at (b1,t1): expected -100 or 0 .. 10, got -1");
  bad.labels.pop_back();
  refused([&] { trainer.accumulate(bad.view()); },
          "batch: labels: expected 14 values ([B,T] = [2,7]), got 13");
  refused([&] { trainer.step(NAN); }, "trainer: learning_rate: expected 0 or more, got nan");
  refused([&] { trainer.weight("lm_head"); }, "weight lm_head: this model has no such weight");
  trainer.step(0.01);
  step_on(other, rows, 0.01);
  BOOST_TEST((weights_of(trainer) == weights_of(other)));
}
