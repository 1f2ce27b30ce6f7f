// Whole models in narrow arithmetic: what the rounding interpreter samples, the error interpreter
// bounds.
#include "reference/interpreters/rounding.h"

#include <tbb/global_control.h>

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "reference/interpreters/error.h"
#include "reference/methods/registry.h"
#include "tests/reference/models.h"
#include "tests/reference/random.h"

namespace assay::reference::testing {
namespace {

using golden::Precision;
using golden::PrecisionSchedule;

constexpr uint64_t kSeed = 151;
constexpr int64_t kBatch = 2, kPositions = 9;

const PrecisionSchedule kFp32{.storage = Precision::fp32, .accumulate = Precision::fp32};
const PrecisionSchedule kBf16{.storage = Precision::bf16, .accumulate = Precision::fp32};
const PrecisionSchedule kTf32 = golden::usual_schedule(Precision::tf32);
const PrecisionSchedule kNarrowProbs{
    .storage = Precision::bf16, .accumulate = Precision::fp32, .narrow_probs = true};

struct Model {
  explicit Model(const ModelConfig& c)
      : config(c),
        inputs(random_inputs(c, kBatch, kPositions, kSeed, {0, 2})),
        weights(synthetic_weights(c, kSeed)),
        graph(build_model(c, kBatch, kPositions)) {}

  Tensors rounded(const PrecisionSchedule& schedule, RoundingMode mode, uint64_t seed = 0) const {
    Collector collector;
    evaluate_rounded(*graph, bind_model(inputs, weights), schedule, mode, seed, collector);
    return std::move(collector.tensors);
  }

  ModelConfig config;
  Inputs inputs;
  Tensors weights;
  std::unique_ptr<Graph> graph;
};

class Bounds : public ErrorObserver {
 public:
  void observe(const NodeData& node, const Array& value, const Array& error) override {
    values[node.name] = {value.shape(), {value.values().begin(), value.values().end()}};
    errors[node.name] = {error.shape(), {error.values().begin(), error.values().end()}};
  }

  Tensors values, errors;
};

Bounds bounds_of(const Model& model, const PrecisionSchedule& schedule, ErrorNorm norm) {
  Bounds bounds;
  evaluate_with_error(*model.graph, bind_model(model.inputs, model.weights), schedule, norm,
                      bounds);
  return bounds;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(rounding)

BOOST_AUTO_TEST_CASE(nearest_run_stays_within_the_worst_case_bound) {
  for (const ModelConfig& config : every_method()) {
    const Model model(config);
    for (const PrecisionSchedule& schedule : {kFp32, kTf32, kBf16, kNarrowProbs}) {
      const Tensors rounded = model.rounded(schedule, RoundingMode::nearest);
      const Bounds bounds = bounds_of(model, schedule, ErrorNorm::worst);
      BOOST_TEST(rounded.size() == bounds.values.size());
      for (const auto& [name, value] : bounds.values) {
        const Tensor &candidate = rounded.at(name), &bound = bounds.errors.at(name);
        int64_t outside = 0, stored = 0;
        for (std::size_t i = 0; i < value.values.size(); ++i) {
          const double x = candidate.values[i], y = value.values[i];
          outside += !(x == y || std::fabs(x - y) <= bound.values[i]);
          stored += golden::round_to(schedule.storage_of(name), x) == x;
        }
        BOOST_TEST(outside == 0, title(config) << ", " << name);
        BOOST_TEST(stored == static_cast<int64_t>(value.values.size()), title(config)
                                                                            << ", " << name);
      }
    }
  }
}

// As attention on tensor cores: probabilities are kept wide, and rounded where they meet their
// values.
BOOST_AUTO_TEST_CASE(narrow_probs_are_rounded_for_their_values_alone) {
  const Model model(ragged_config("1"));
  const Tensors wide = model.rounded(kBf16, RoundingMode::nearest);
  const Tensors narrow = model.rounded(kNarrowProbs, RoundingMode::nearest);
  BOOST_TEST(
      same_bits(narrow.at("layers/0/attn/probs").values, wide.at("layers/0/attn/probs").values));
  BOOST_TEST(!same_bits(narrow.at("layers/0/attn/context").values,
                        wide.at("layers/0/attn/context").values));
  const auto total = [&](const PrecisionSchedule& schedule, const std::string& name) {
    double sum = 0;
    const Bounds bounds = bounds_of(model, schedule, ErrorNorm::worst);
    for (const double bound : bounds.errors.at(name).values) sum += bound;
    return sum;
  };
  BOOST_TEST(total(kNarrowProbs, "layers/0/attn/probs") == total(kBf16, "layers/0/attn/probs"));
  for (const char* name : {"layers/0/attn/context", "layers/1/recompute/0/context"}) {
    BOOST_TEST(total(kNarrowProbs, name) > total(kBf16, name), name);
  }
}

// A stochastic rounding is off by up to a spacing, 2u: its variance averages 2u^2/3, twice that of
// a rounding to nearest, which the deviation is made of. Twice on top of that is for errors that
// are not independent. The deviation widens with depth, since it adds variances where errors
// cancel: the observed scatter is 0.015 to 1.2 of it, and below 0.01 it would say nothing.
BOOST_AUTO_TEST_CASE(stochastic_runs_scatter_as_the_deviation_says) {
  constexpr int kRuns = 12;
  for (const ModelConfig& config : every_method()) {
    const Model model(config);
    const Bounds deviation = bounds_of(model, kFp32, ErrorNorm::deviation);
    std::map<std::string, double> squares;
    for (int run = 0; run < kRuns; ++run) {
      for (const auto& [name, tensor] :
           model.rounded(kFp32, RoundingMode::stochastic, static_cast<uint64_t>(run))) {
        const Tensor& exact = deviation.values.at(name);
        for (std::size_t i = 0; i < exact.values.size(); ++i) {
          const double x = tensor.values[i], y = exact.values[i];
          if (x != y) squares[name] += (x - y) * (x - y) / kRuns;
        }
      }
    }
    for (const auto& [name, sigma] : deviation.errors) {
      if (name == "loss") continue;  // one number: too few to speak of its scatter
      // GPT-2's sum of two bfloat16 numbers is exact, which the estimate does not know.
      if (name == "embed" || name == "layers/0/input") continue;
      double expected = 0;
      for (const double s : sigma.values) expected += s * s;
      const double ratio = expected == 0 ? (squares[name] == 0 ? 1.0 : INFINITY)
                                         : std::sqrt(squares[name] / expected);
      BOOST_TEST(ratio <= 2 * std::sqrt(2.0), title(config) << ", " << name << ": " << ratio);
      BOOST_TEST(ratio >= 0.01, title(config) << ", " << name << ": " << ratio);
    }
  }
}

BOOST_AUTO_TEST_CASE(samples_do_not_depend_on_threads_and_do_on_the_seed) {
  const Model model(ragged_config("1"));
  const auto sample = [&](std::size_t threads, uint64_t seed) {
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, threads);
    return model.rounded(kBf16, RoundingMode::stochastic, seed).at("logits").values;
  };
  BOOST_TEST(same_bits(sample(1, 5), sample(2, 5)));
  BOOST_TEST(!same_bits(sample(1, 5), sample(1, 6)));
}

// tf32 factors have 11 significant bits where fp32 has 24.
BOOST_AUTO_TEST_CASE(tf32_factors_err_more_than_fp32_ones_and_less_than_bf16_storage) {
  const Model model(ragged_config("plain"));
  const Tensors exact = run_model(model.config, model.inputs, model.weights);
  const auto error = [&](const PrecisionSchedule& schedule) {
    return relative_error(model.rounded(schedule, RoundingMode::nearest).at("logits").values,
                          exact.at("logits").values);
  };
  BOOST_TEST(error(kTf32) > 100 * error(kFp32));
  BOOST_TEST(error(kTf32) < error(kBf16));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
