// Training on the host executor: a step against AdamW in plain loops, micro-batches, clipping,
// overflow, master weights, state.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "cuda_impl/engine/training/adamw_trainer.h"
#include "cuda_impl/engine/training/trained_mean_field.h"
#include "cuda_impl/engine/training/trained_transformer.h"
#include "golden/contract/precision.h"
#include "plain_adamw.h"
#include "recorder.h"

using namespace assay;
using namespace assay::engine_test;
using cuda::StepReport;
using cuda::TrainingOptions;
using golden::ModelConfig;
using golden::Precision;

namespace {

std::unique_ptr<cuda::Trainer> trainer_of(const ModelConfig& config, Precision precision,
                                          const TrainingOptions& options = {}) {
  return cuda::make_host_trainer(config, precision, golden::SyntheticWeights(config, 7), options);
}

StepReport step_on(cuda::Trainer& trainer, const Tokens& tokens, double rate) {
  trainer.accumulate(tokens.view());
  return trainer.step(rate);
}

// The first step that is not skipped, and how many were.
std::pair<StepReport, int> step_until_taken(cuda::Trainer& trainer, const Tokens& tokens) {
  for (int skipped = 0; skipped < 50; ++skipped) {
    const StepReport report = step_on(trainer, tokens, 0.01);
    if (!report.skipped) return {report, skipped};
  }
  BOOST_FAIL("50 steps skipped");
  return {};
}

// Of each array, in units of its largest number.
void check_near(const Values& got, const Values& expected, double bound) {
  BOOST_REQUIRE_EQUAL(got.size(), expected.size());
  for (const auto& [name, values] : expected) {
    const std::vector<double>& own = got.at(name);
    BOOST_REQUIRE_EQUAL(own.size(), values.size());
    double largest = 0, difference = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      largest = std::max(largest, std::fabs(values[i]));
      difference = std::max(difference, std::fabs(values[i] - own[i]));
    }
    BOOST_TEST(difference <= bound * largest, name << ": " << difference << " of " << largest);
  }
}

// One of each kind of learned parameter, and a tied head; pt predicting the next label, with tied
// weights, and the position's own.
std::vector<ModelConfig> kinds() {
  std::vector<ModelConfig> all{
      tiny("plain"), tiny("1"),    tiny("3.2"),    tiny("5.5"),
      tiny("5.1B"),  tiny("5.1D"), tiny("C-base"), tiny_gpt2("4.2", golden::NormPosition::pre)};
  const std::vector<ModelConfig> pt = prob_transformers();
  all.push_back(pt.back());
  all.push_back(pt[3]);
  return all;
}

// Rows [first, first + count) of a batch.
Tokens rows_of(const Tokens& all, int64_t first, int64_t count) {
  Tokens part(count, all.T);
  const auto begin = first * all.T, end = (first + count) * all.T;
  part.tokens.assign(all.tokens.begin() + begin, all.tokens.begin() + end);
  part.labels.assign(all.labels.begin() + begin, all.labels.begin() + end);
  return part;
}

}  // namespace

// Steps with different rates, clipping in all of them. Weight decay is large: forgotten, or put
// through the moments, it shows. So does a correction of the moments left out, which is largest in
// early steps.
BOOST_AUTO_TEST_CASE(three_steps_equal_adamw_in_plain_loops) {
  const TrainingOptions options{
      .beta1 = 0.8, .beta2 = 0.97, .eps = 1e-6, .weight_decay = 0.5, .max_norm = 0.125};
  const Tokens tokens(2, 7);
  std::vector<ModelConfig> configs = models();
  for (const ModelConfig& config : prob_transformers()) configs.push_back(config);
  for (const ModelConfig& config : sampled(configs)) {
    BOOST_TEST_INFO_SCOPE(text_of(config));
    const auto trainer = trainer_of(config, Precision::fp64, options);
    PlainAdamw plain(config, golden::SyntheticWeights(config, 7), options);
    BOOST_TEST((weights_of(*trainer) == plain.weights));
    for (const double rate : {0.02, 0.005, 0.01}) {
      const StepReport got = step_on(*trainer, tokens, rate), expected = plain.step(tokens, rate);
      BOOST_TEST(!got.skipped);
      BOOST_TEST(std::fabs(got.loss - expected.loss) <= 1e-12 * expected.loss);
      BOOST_TEST(std::fabs(got.gradient_norm - expected.gradient_norm) <=
                 1e-12 * expected.gradient_norm);
      BOOST_TEST(expected.gradient_norm > options.max_norm);
    }
    check_near(weights_of(*trainer), plain.weights, 1e-12);
    check_near(moments_of(*trainer).first, plain.moments.first, 1e-12);
    check_near(moments_of(*trainer).second, plain.moments.second, 1e-12);
  }
}

// The micro-batches count 5, 0 and 11 positions: a mean of means, or a sum of them, is another
// gradient.
BOOST_AUTO_TEST_CASE(micro_batches_with_unequal_counts_equal_one_batch) {
  Tokens all(4, 7);
  std::fill(all.labels.begin() + 7, all.labels.begin() + 14, -100);
  std::fill(all.labels.begin() + 22, all.labels.begin() + 23, -100);
  const TrainingOptions options{.eps = 1e-4, .max_norm = 0.25};
  for (const ModelConfig& config : kinds()) {
    BOOST_TEST_INFO_SCOPE(text_of(config));
    const auto whole = trainer_of(config, Precision::fp64, options);
    const auto parts = trainer_of(config, Precision::fp64, options);
    for (int step = 0; step < 2; ++step) {
      const StepReport expected = step_on(*whole, all, 0.01);
      for (const auto& [first, count] : {std::pair{0, 1}, {1, 1}, {2, 2}}) {
        parts->accumulate(rows_of(all, first, count).view());
      }
      const StepReport got = parts->step(0.01);
      BOOST_TEST(std::fabs(got.loss - expected.loss) <= 1e-12 * expected.loss);
      BOOST_TEST(std::fabs(got.gradient_norm - expected.gradient_norm) <=
                 1e-12 * expected.gradient_norm);
    }
    check_near(weights_of(*parts), weights_of(*whole), 1e-12);
  }
}

// The stacked copies of weights follow every step.
BOOST_AUTO_TEST_CASE(stacked_recomputes_train_as_each_does) {
  const Tokens tokens(2, 7);
  for (const ModelConfig& config : sampled(models(4))) {
    if (!recomputes(config)) continue;
    BOOST_TEST_INFO_SCOPE(text_of(config));
    const auto each = trainer_of(config, Precision::fp64, {.eps = 1e-4});
    const auto stacked = trainer_of(
        config, Precision::fp64, {.eps = 1e-4, .model = {.recompute = cuda::Recompute::stacked}});
    for (int step = 0; step < 3; ++step) {
      const StepReport expected = step_on(*each, tokens, 0.01),
                       got = step_on(*stacked, tokens, 0.01);
      BOOST_TEST(std::fabs(got.loss - expected.loss) <= 1e-12 * expected.loss);
    }
    check_near(weights_of(*stacked), weights_of(*each), 1e-11);
  }
}

// After the first step the first moment is 1 - beta1 times the gradient.
BOOST_AUTO_TEST_CASE(clipping_shortens_the_gradient_to_the_largest_norm) {
  const Tokens tokens(2, 7);
  const auto norm_after = [&](double max_norm, double& reported) {
    const auto trainer = trainer_of(tiny("3.2"), Precision::fp64, {.max_norm = max_norm});
    reported = step_on(*trainer, tokens, 0.01).gradient_norm;
    return norm_of(moments_of(*trainer).first) / (1 - 0.9);
  };
  double unclipped = 0, reported = 0;
  const double whole = norm_after(0, unclipped);
  BOOST_TEST(std::fabs(whole - unclipped) <= 1e-12 * unclipped);
  const double half = norm_after(unclipped / 2, reported);
  BOOST_TEST(reported == unclipped);
  BOOST_TEST(std::fabs(half - unclipped / 2) <= 1e-12 * unclipped);
  BOOST_TEST(norm_after(2 * unclipped, reported) == whole);
}

// Of weights that the norm takes in several pieces: every row of lm_head [5000,16] has a gradient.
BOOST_AUTO_TEST_CASE(the_norm_covers_large_weights) {
  ModelConfig config = tiny("plain", 1);
  config.vocab_size = 5000;
  const Tokens tokens(1, 5);
  const golden::SyntheticWeights weights(config, 7);
  Values gradients;
  cuda::make_host_model(config, Precision::fp64, weights)
      ->gradients(tokens.view(), into(gradients));
  const double expected = norm_of(gradients);
  const double got = step_on(*trainer_of(config, Precision::fp64), tokens, 0.01).gradient_norm;
  BOOST_TEST(std::fabs(got - expected) <= 1e-12 * expected);
}

// The loss times 2^60 is infinite in fp16, and so are its gradients.
BOOST_AUTO_TEST_CASE(a_step_that_overflows_changes_nothing_but_the_scale) {
  const Tokens tokens(2, 7);
  for (const ModelConfig& config : kinds()) {
    BOOST_TEST_INFO_SCOPE(text_of(config));
    const double huge = std::ldexp(1.0, 60);
    const auto trainer = trainer_of(config, Precision::fp16, {.weight_decay = 0.1});
    step_until_taken(*trainer, tokens);
    const Moments good = moments_of(*trainer);
    trainer->restore({.steps = 1, .good_steps = 1, .loss_scale = huge}, HeldWeights(good.first),
                     HeldWeights(good.second));
    const Values weights = weights_of(*trainer);
    trainer->accumulate(tokens.view());
    const StepReport report = trainer->step(0.01);
    BOOST_TEST(report.skipped);
    BOOST_TEST((weights_of(*trainer) == weights));
    BOOST_TEST((moments_of(*trainer) == good));
    BOOST_TEST(trainer->progress().steps == 1);
    BOOST_TEST(trainer->progress().good_steps == 0);
    BOOST_TEST(trainer->progress().loss_scale == huge / 2);

    // What the kernels read is as it was too: the loss is that of the weights.
    const auto model = cuda::make_host_model(config, Precision::fp16, HeldWeights(weights));
    const double loss = model->gradients(tokens.view(), {});
    BOOST_TEST(std::fabs(step_on(*trainer, tokens, 0.01).loss - loss) <= 1e-6 * loss);
  }
}

// A loss scale changes no gradient that fits: halved from 2^40 until a step is taken, it is found,
// and the norm is that of fp32 up to the roundings of 11 bits.
BOOST_AUTO_TEST_CASE(a_loss_scale_is_found_and_taken_off_again) {
  const Tokens tokens(2, 7);
  const auto narrow = trainer_of(tiny("1"), Precision::fp16, {.loss_scale = std::ldexp(1.0, 40)});
  const auto [report, skipped] = step_until_taken(*narrow, tokens);
  BOOST_TEST(skipped > 10);
  BOOST_TEST(narrow->progress().loss_scale == std::ldexp(1.0, 40 - skipped));
  BOOST_TEST(narrow->progress().steps == 1);
  const StepReport wide = step_on(*trainer_of(tiny("1"), Precision::fp32), tokens, 0.01);
  BOOST_TEST(std::fabs(report.gradient_norm - wide.gradient_norm) <= 0.01 * wide.gradient_norm);
}

BOOST_AUTO_TEST_CASE(a_loss_scale_doubles_after_2000_good_steps) {
  const Tokens tokens(1, 5);
  const ModelConfig config = tiny("plain", 1);
  for (const Precision precision : {Precision::fp16, Precision::bf16}) {
    const auto trainer = trainer_of(config, precision, {.loss_scale = 64});
    const Moments none = moments_of(*trainer);
    const double scale = precision == Precision::fp16 ? 64 : 1;
    BOOST_TEST(trainer->progress().loss_scale == scale);
    trainer->restore({.steps = 5000, .good_steps = 1998, .loss_scale = scale},
                     HeldWeights(none.first), HeldWeights(none.second));
    BOOST_TEST(!step_on(*trainer, tokens, 0.01).skipped);
    BOOST_TEST(trainer->progress().loss_scale == scale);
    BOOST_TEST(!step_on(*trainer, tokens, 0.01).skipped);
    BOOST_TEST(trainer->progress().loss_scale == (precision == Precision::fp16 ? 128 : 1));
    BOOST_TEST(trainer->progress().good_steps == 0);
    BOOST_TEST(trainer->progress().steps == 5002);
  }
}

// Gains between 0.5 and 1.5 lie at least 2^-8 apart in bf16; one step moves them by 2^-12, which a
// bf16 weight would not keep.
BOOST_AUTO_TEST_CASE(updates_below_half_an_ulp_of_bf16_are_kept) {
  const Tokens tokens(2, 7);
  const std::string gain = "model.norm.weight";
  const auto trainer = trainer_of(tiny("plain"), Precision::bf16);
  const auto rounded = [&] {
    std::vector<double> values = weights_of(*trainer).at(gain);
    for (double& value : values) value = golden::round_to(Precision::bf16, value);
    return values;
  };
  const std::vector<double> start = weights_of(*trainer).at(gain);
  step_on(*trainer, tokens, std::ldexp(1.0, -12));
  BOOST_TEST((rounded() == start));
  BOOST_TEST((weights_of(*trainer).at(gain) != start));
  for (int step = 1; step < 40; ++step) step_on(*trainer, tokens, std::ldexp(1.0, -12));
  BOOST_TEST((rounded() != start));
}

// The loss of a step is the one before its update: of the master weights as rounded for the
// kernels, and of coefficients formed from them. Two roundings of fp32 apart.
BOOST_AUTO_TEST_CASE(the_kernels_read_the_master_weights_rounded) {
  const Tokens tokens(2, 7);
  for (const ModelConfig& config : kinds()) {
    for (const Precision precision : kPrecisions) {
      BOOST_TEST_INFO_SCOPE(text_of(config) << ", " << golden::precision_name(precision));
      const auto trainer = trainer_of(config, precision, {.loss_scale = 16});
      for (int step = 0; step < 3; ++step) {
        const HeldWeights weights(weights_of(*trainer));
        const double loss =
            cuda::make_host_model(config, precision, weights)->gradients(tokens.view(), {});
        const StepReport report = step_on(*trainer, tokens, 0.02);
        BOOST_TEST(!report.skipped);
        BOOST_TEST(std::fabs(report.loss - loss) <= std::ldexp(loss, -23));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(the_loss_of_a_repeated_batch_falls) {
  const Tokens tokens(2, 7);
  for (const Precision precision : {Precision::bf16, Precision::fp16}) {
    for (const ModelConfig& config : kinds()) {
      BOOST_TEST_INFO_SCOPE(text_of(config) << ", " << golden::precision_name(precision));
      const auto trainer = trainer_of(config, precision, {.max_norm = 1});
      const double before = step_on(*trainer, tokens, 0.01).loss;
      double loss = before;
      for (int step = 1; step < 30; ++step) loss = step_on(*trainer, tokens, 0.01).loss;
      BOOST_TEST(loss < before / 2, loss << " after " << before);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_restored_trainer_goes_on_bit_for_bit) {
  const Tokens tokens(2, 7), others(1, 9);
  const TrainingOptions options{.weight_decay = 0.1, .max_norm = 1};
  for (const ModelConfig& config : kinds()) {
    for (const Precision precision : kPrecisions) {
      BOOST_TEST_INFO_SCOPE(text_of(config) << ", " << golden::precision_name(precision));
      const auto whole = trainer_of(config, precision, options);
      for (int step = 0; step < 3; ++step) step_on(*whole, tokens, 0.01);
      const HeldWeights weights(weights_of(*whole));
      const Moments moments = moments_of(*whole);
      const auto again = cuda::make_host_trainer(config, precision, weights, options);
      again->accumulate(tokens.view());  // what was gathered goes
      again->restore(whole->progress(), HeldWeights(moments.first), HeldWeights(moments.second));
      for (int step = 0; step < 2; ++step) {
        step_on(*whole, others, 0.02);
        step_on(*again, others, 0.02);
      }
      BOOST_TEST((weights_of(*again) == weights_of(*whole)));
      BOOST_TEST((moments_of(*again) == moments_of(*whole)));
      BOOST_TEST(again->progress().steps == whole->progress().steps);
    }
  }
}

namespace {

template <class Subject>
void check_allocations(const ModelConfig& config) {
  const Tokens large(3, 9), small(1, 4);
  cuda::AdamwTrainer<Subject> trainer(config, Precision::fp32, golden::SyntheticWeights(config, 7),
                                      {});
  step_on(trainer, large, 0.01);
  const int64_t allocations = trainer.allocations();
  BOOST_TEST(allocations > 0);
  for (int step = 0; step < 3; ++step) {
    trainer.accumulate(small.view());
    step_on(trainer, large, 0.01);
  }
  BOOST_TEST(trainer.allocations() == allocations);
}

}  // namespace

BOOST_AUTO_TEST_CASE(nothing_is_allocated_after_the_first_step) {
  for (const ModelConfig& config : kinds()) {
    BOOST_TEST_INFO_SCOPE(text_of(config));
    if (config.method == "pt") {
      check_allocations<cuda::TrainedMeanField<float>>(config);
    } else {
      check_allocations<cuda::TrainedTransformer<float>>(config);
    }
  }
}

BOOST_AUTO_TEST_CASE(what_cannot_be_trained_is_refused) {
  const ModelConfig config = tiny("plain");
  const auto make_with = [&](const TrainingOptions& options) {
    return [=] { trainer_of(config, Precision::fp32, options); };
  };
  check_refused(make_with({.beta1 = 1}),
                "trainer: beta1: expected 0 or more and less than 1, got 1");
  check_refused(make_with({.beta2 = -0.5}),
                "trainer: beta2: expected 0 or more and less than 1, got -0.5");
  check_refused(make_with({.eps = 0}), "trainer: eps: expected a positive number, got 0");
  check_refused(make_with({.weight_decay = -1}),
                "trainer: weight_decay: expected 0 or more, got -1");
  check_refused(make_with({.max_norm = std::nan("")}),
                "trainer: max_norm: expected 0 (no clipping) or more, got nan");
  check_refused(make_with({.loss_scale = 0}),
                "trainer: loss_scale: expected a positive number, got 0");

  const auto trainer = trainer_of(config, Precision::fp64);
  const auto other = trainer_of(config, Precision::fp64);
  const Tokens tokens(2, 7);
  check_refused([&] { trainer->step(0.01); },
                "trainer: step: expected a counted position since the last step, got none");
  Tokens bad = tokens;
  bad.tokens[3] = 11;
  trainer->accumulate(tokens.view());
  check_refused([&] { trainer->accumulate(bad.view()); },
                "batch: tokens at (b0,t3): expected 0 .. 10, got 11");
  check_refused([&] { trainer->step(-1); }, "trainer: learning_rate: expected 0 or more, got -1");
  trainer->step(0.01);
  step_on(*other, tokens, 0.01);
  BOOST_TEST((weights_of(*trainer) == weights_of(*other)));
}
