// Curves whose noise goes together: smoothed, autocorrelated, periodic, with spikes.
#include <array>
#include <boost/test/unit_test.hpp>
#include <functional>
#include <string>

#include "tests/verify/training/made_evidence.h"

namespace assay::verify::training {
namespace {

using Values = std::vector<double>;
using Random = std::mt19937_64;

constexpr int kRuns = 20;

Values with_noise(Values values, double spread, Random& random) {
  std::normal_distribution<double> noise(0, spread);
  for (double& value : values) value += noise(random);
  return values;
}

// TensorBoard's smoothing.
Values smoothed(Values values, double weight) {
  for (std::size_t i = 1; i < values.size(); ++i) {
    values[i] = weight * values[i - 1] + (1 - weight) * values[i];
  }
  return values;
}

Values running_mean(const Values& values, std::size_t width) {
  Values means;
  for (std::size_t i = 0; i < values.size(); ++i) {
    double sum = 0;
    for (std::size_t k = 0; k < width; ++k) sum += values[i >= k ? i - k : 0];
    means.push_back(sum / static_cast<double>(width));
  }
  return means;
}

Values with_autoregression(Values values, double spread, double rho, Random& random) {
  std::normal_distribution<double> noise(0, spread);
  double x = noise(random);
  for (double& value : values) {
    value += x;
    x = rho * x + std::sqrt(1 - rho * rho) * noise(random);
  }
  return values;
}

// Batches in one order, the hardest last.
Values rising_in_epochs(Values values, double rise, std::size_t epochs, Random& random) {
  const std::size_t n = values.size();
  for (std::size_t i = 0; i < n; ++i) {
    values[i] += rise * static_cast<double>(i * epochs % n) / static_cast<double>(n);
  }
  return with_noise(values, 0.03, random);
}

struct Noise {
  std::string name;
  std::function<Values(const Values&, Random&)> on;
};

const std::vector<Noise>& noises() {
  static const std::vector<Noise> all{
      {"independent", [](const Values& v, Random& r) { return with_noise(v, 0.1, r); }},
      {"smoothed by 0.9",
       [](const Values& v, Random& r) { return smoothed(with_noise(v, 0.5, r), 0.9); }},
      {"smoothed by 0.6",
       [](const Values& v, Random& r) { return smoothed(with_noise(v, 0.3, r), 0.6); }},
      {"running mean of 20",
       [](const Values& v, Random& r) { return running_mean(with_noise(v, 0.3, r), 20); }},
      {"autoregressive 0.9",
       [](const Values& v, Random& r) { return with_autoregression(v, 0.1, 0.9, r); }},
      {"autoregressive 0.95",
       [](const Values& v, Random& r) { return with_autoregression(v, 0.05, 0.95, r); }},
      {"10 epochs", [](const Values& v, Random& r) { return rising_in_epochs(v, 0.4, 10, r); }},
      {"3 epochs", [](const Values& v, Random& r) { return rising_in_epochs(v, 0.25, 3, r); }},
  };
  return all;
}

// The trend of a run that learns.
Values learning(int points = 400) { return falling(3, 1.5, points, 0, 0); }

// From `share` of the run on, `height` more at the end; as a power of the time since.
Values rising(Values values, double share, double height, double power) {
  const auto n = static_cast<double>(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double since = (static_cast<double>(i) / n - share) / (1 - share);
    if (since > 0) values[i] += height * std::pow(since, power);
  }
  return values;
}

// Val of every 20th point.
Evidence noisy(const Values& train, const Values& val, Random& random) {
  Evidence evidence = curves(train, {});
  const Values noisy_val = with_noise(val, 0.005, random);
  for (std::size_t i = 19; i < val.size(); i += 20) {
    evidence.curve.val.add(evidence.curve.train.steps[i], noisy_val[i]);
  }
  return evidence;
}

int runs_that_are(Verdict verdict, const Noise& noise, const Values& train, const Values& val,
                  bool with_val = true) {
  int found = 0;
  for (int run = 0; run < kRuns; ++run) {
    Random random(100 + static_cast<unsigned>(run));
    Evidence evidence = noisy(noise.on(train, random), val, random);
    if (!with_val) evidence.curve.val = {};
    found += verdict_of(evidence) == verdict ? 1 : 0;
  }
  return found;
}

BOOST_AUTO_TEST_CASE(noise_that_goes_together_is_no_rise) {
  for (const Noise& noise : noises()) {
    BOOST_TEST_CONTEXT(noise.name) {
      const Values trend = learning();
      BOOST_TEST(runs_that_are(Verdict::insufficient, noise, trend, trend) == kRuns);
      BOOST_TEST(runs_that_are(Verdict::insufficient, noise, trend, {}, false) == kRuns);
    }
  }
}

BOOST_AUTO_TEST_CASE(what_diverges_is_found_in_any_noise) {
  const Values trend = learning();
  for (const Noise& noise : noises()) {
    BOOST_TEST_CONTEXT(noise.name) {
      for (const Values& train : {rising(trend, 0.7, 1, 0.001), rising(trend, 0.5, 1.5, 1),
                                  rising(trend, 0.85, 3, 2), rising(trend, 0.3, 1.5, 2)}) {
        BOOST_TEST(runs_that_are(Verdict::diverging, noise, train, train) == kRuns);
        BOOST_TEST(runs_that_are(Verdict::diverging, noise, train, {}, false) == kRuns);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(what_overfits_is_found_in_any_noise) {
  const Values train = rising(learning(), 0.3, -0.5, 1), val = rising(learning(), 0.3, 0.5, 1);
  for (const Noise& noise : noises()) {
    BOOST_TEST_CONTEXT(noise.name) {
      BOOST_TEST(runs_that_are(Verdict::overfit, noise, train, val) == kRuns);
    }
  }
}

// Not finite at the end, whatever the noise.
BOOST_AUTO_TEST_CASE(noisy_losses_that_end_as_nan_diverge) {
  for (const Noise& noise : noises()) {
    Random random(7);
    Values train = noise.on(learning(), random);
    for (const double end : {double{NAN}, double{INFINITY}}) {
      train.back() = end;
      BOOST_TEST(verdict_of(noisy(train, learning(), random)) == Verdict::diverging);
    }
  }
}

// A training loss that rises while val, seen before and meanwhile, is at its lowest is another
// task than before; above where it began, or with a val that ends before, it is a divergence.
BOOST_AUTO_TEST_CASE(val_at_its_lowest_excuses_a_rise) {
  const Values train = rising(learning(), 0.6, 0.5, 1);
  Random random(3);
  Evidence evidence = noisy(with_noise(train, 0.05, random), learning(), random);
  const Judgement judgement = judge(evidence);
  BOOST_TEST(judgement.verdict == Verdict::insufficient);
  BOOST_TEST(has_note(judgement, "val is no higher"));
  Evidence early = evidence;
  early.curve.val.steps.resize(10);
  early.curve.val.values.resize(10);
  BOOST_TEST(verdict_of(early) == Verdict::diverging);
  Evidence beyond = noisy(rising(train, 0.8, 3, 1), learning(), random);
  BOOST_TEST(verdict_of(beyond) == Verdict::diverging);
}

// Of val and of training, 1 to 4 evaluations before the end.
BOOST_AUTO_TEST_CASE(spikes_that_recovered_are_not_overfit) {
  for (const std::size_t before_end : {30U, 50U, 70U}) {
    Random random(5);
    Values train = with_noise(learning(), 0.03, random);
    for (std::size_t i = 0; i < 25; ++i) {
      train[400 - before_end + i] += 3 * std::exp(-static_cast<double>(i) / 6);
    }
    Evidence evidence = noisy(train, train, random);
    BOOST_TEST(verdict_of(evidence) == Verdict::insufficient);
  }
}

// What is high at the end has not recovered.
BOOST_AUTO_TEST_CASE(spikes_at_the_end_are_not_said_to_have_recovered) {
  for (const std::size_t count : {1U, 2U, 3U}) {
    Values train = falling(5, 2, 100, 1);
    for (std::size_t i = 0; i < count; ++i) train[99 - i] = 9;
    const Judgement judgement = judge(curves(train, {}));
    BOOST_TEST(!has_note(judgement, "recovered"));
    BOOST_TEST((judgement.verdict == Verdict::diverging || has_note(judgement, "at the end")));
    train.insert(train.end(), 3, 2.0);
    BOOST_TEST(has_note(judge(curves(train, {})), "recovered"));
  }
}

BOOST_AUTO_TEST_CASE(curves_below_zero_are_no_losses) {
  Values train = falling(2, -0.5, 60, 1);
  BOOST_TEST(verdict_of(curves(train, {})) == Verdict::leak_labels);
  BOOST_TEST(verdict_of(curves(falling(5, 2, 60, 1), falling(2, -0.5, 20, 1))) ==
             Verdict::leak_labels);
  Evidence rounded = curves({2, 1, 0.5, 0.2, 0.01, -0.004}, {});
  rounded.curve.train.half_step = 0.005;
  BOOST_TEST(verdict_of(rounded) == Verdict::insufficient);
}

// 512 tokens of a source vary among themselves; those of 100,000 do not.
BOOST_AUTO_TEST_CASE(few_tokens_of_val_may_be_easier_than_the_source) {
  Evidence evidence = curves(falling(1.9, 1.77, 200, 1), falling(1.9, 1.75, 40, 2, 0.001));
  evidence.rate = OracleRate{1.837, 0, false, 0, 0.8};
  BOOST_TEST(verdict_of(evidence) == Verdict::insufficient);
  evidence.val_tokens = 512;
  BOOST_TEST(verdict_of(evidence) == Verdict::insufficient);
  evidence.val_tokens = 100000;
  BOOST_TEST(verdict_of(evidence) == Verdict::leak_suspected);
}

// The gap of the tokens decides, and what the curves have is told.
BOOST_AUTO_TEST_CASE(curves_that_disagree_with_tokens_are_noted) {
  Evidence evidence = three_sets(0, 0, 0);
  evidence.curve.train = series_of(falling(5, 1, 100, 1));
  evidence.curve.val = series_of(falling(5, 2, 40, 2));
  BOOST_TEST(has_note(judge(evidence), "gap of the curves"));
}

}  // namespace
}  // namespace assay::verify::training
