// Weights and tokens from a seed.
#include "golden/contract/weights.h"

#include <tbb/global_control.h>

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "golden/contract/error.h"
#include "golden/contract/random.h"

namespace assay::golden {
namespace {

std::vector<double> read(const WeightSource& weights, const TensorInfo& info) {
  std::vector<double> values(static_cast<std::size_t>(element_count(info.shape)));
  weights.read(info.name, values);
  return values;
}

// What golden/contract/weights.h promises of each kind.
struct Due {
  double mean, deviation;
};

Due due(const TensorInfo& info) {
  const double width = info.shape.size() < 2 ? 0 : static_cast<double>(info.shape[1]);
  if (info.name.ends_with(".bias")) return {0, 0.5 / std::sqrt(3.0)};
  if (info.name == "transformer.wte.weight") return {0, 3 / std::sqrt(width)};
  if (info.name == "transformer.wpe.weight") return {0, 1.5 / std::sqrt(width)};
  if (info.shape.size() == 1) return {1.0, 1 / std::sqrt(12.0)};
  if (info.name == "model.embed_tokens.weight") return {0, 1};
  if (info.name.starts_with("transformer.h.")) {  // stored [in,out]
    return {0, 1 / std::sqrt(static_cast<double>(info.shape[0]))};
  }
  const bool scores = info.name.find("q_proj") != std::string::npos ||
                      info.name.find("k_proj") != std::string::npos;
  return {0, (scores ? 1.25 : 1.0) / std::sqrt(static_cast<double>(info.shape[1]))};
}

}  // namespace

namespace {

// Five standard deviations of the mean, and of the variance of a uniform variable: its fourth
// moment is 9/5 of the variance squared.
void check_distribution(const std::string& name, const std::vector<double>& values, Due expected) {
  const auto n = static_cast<double>(values.size());
  double sum = 0, squares = 0, largest = 0;
  for (const double value : values) {
    sum += value;
    squares += (value - expected.mean) * (value - expected.mean);
    largest = std::max(largest, std::fabs(value - expected.mean));
  }
  const double variance = expected.deviation * expected.deviation;
  BOOST_TEST(std::fabs(sum / n - expected.mean) <= 5 * expected.deviation / std::sqrt(n), name);
  BOOST_TEST(std::fabs(squares / n - variance) <= 5 * variance * std::sqrt(0.8 / n), name);
  BOOST_TEST(largest <= expected.deviation * std::sqrt(3.0) * (1 + 0x1p-8), name);
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_weight_is_distributed_as_documented) {
  for (const BlockKind block : {BlockKind::llama, BlockKind::gpt2}) {
    const ModelConfig config = preset("small", block);
    const SyntheticWeights weights(config, 3);
    for (const TensorInfo& info : weight_list(config)) {
      if (info.name.ends_with("c_attn.weight")) continue;  // two kinds of columns
      check_distribution(info.name, read(weights, info), due(info));
    }
  }
}

// Columns of Wq and Wk, [0, (H + Hkv) Dh), are wider than those of Wv.
BOOST_AUTO_TEST_CASE(columns_of_c_attn_are_distributed_as_documented) {
  ModelConfig config = preset("small", BlockKind::gpt2);
  config.num_key_value_heads = 2;  // H = 8, Dh = 16: 128 + 32 columns, then 32
  const TensorInfo info{"transformer.h.1.attn.c_attn.weight", {128, 192}, "DD"};
  const std::vector<double> values = read(SyntheticWeights(config, 3), info);
  std::vector<double> scores, value;
  for (std::size_t i = 0; i < values.size(); ++i) {
    (i % 192 < 160 ? scores : value).push_back(values[i]);
  }
  check_distribution("Wq, Wk", scores, {0, 1.25 / std::sqrt(128.0)});
  check_distribution("Wv", value, {0, 1 / std::sqrt(128.0)});
}

BOOST_AUTO_TEST_CASE(every_weight_is_exact_in_bf16) {
  for (const BlockKind block : {BlockKind::llama, BlockKind::gpt2}) {
    const ModelConfig config = preset("tiny", block);
    const SyntheticWeights weights(config, 3);
    for (const TensorInfo& info : weight_list(config)) {
      for (const double value : read(weights, info)) BOOST_TEST(round_to_bf16(value) == value);
    }
  }
}

namespace {

// Every method and form at size tiny, with parameters for 20 positions.
std::vector<ModelConfig> every_method(Params params) {
  std::vector<ModelConfig> configs;
  for (const MethodInfo& method : methods()) {
    for (const std::string& form :
         method.forms.empty() ? std::vector<std::string>{""} : method.forms) {
      ModelConfig config = preset("tiny");
      config.method = method.id;
      config.form = form;
      config.params = params;
      if (method.takes("score_positions")) config.score_positions = 20;
      configs.push_back(config);
    }
  }
  return configs;
}

// fn(config, weight, its values) for everything that any method learns.
template <class F>
void for_learned(Params params, F&& fn) {
  for (const ModelConfig& config : every_method(params)) {
    const SyntheticWeights weights(config, 3);
    for (int64_t l = 0; l < config.num_hidden_layers; ++l) {
      for (const LearnedWeight& w : learned_weights(config, l))
        fn(config, w, read(weights, w.info));
    }
  }
}

double start_of(Initial initial, const ModelConfig& config) {
  const double root = std::sqrt(static_cast<double>(config.head_dim));
  return initial == Initial::half            ? 0.5
         : initial == Initial::one           ? 1.0
         : initial == Initial::sqrt_head     ? root
         : initial == Initial::log_sqrt_head ? std::log(root)
                                             : 0.0;
}

}  // namespace

BOOST_AUTO_TEST_CASE(initial_parameters_are_exactly_those_of_the_table) {
  int64_t values_seen = 0;
  for_learned(Params::initial, [&](const ModelConfig& config, const LearnedWeight& w,
                                   const std::vector<double>& values) {
    if (w.parameter.initial == Initial::normal) return;
    for (const double value : values) {
      BOOST_TEST(value == start_of(w.parameter.initial, config), w.info.name);
      ++values_seen;
    }
  });
  BOOST_TEST(values_seen > 1000);
}

// 5.1D of small: 4 layers, W1 [m,128]. Mean and deviation within five standard errors; 5 % of a
// normal variable lie beyond 1.96 deviations, none of a uniform one does.
BOOST_AUTO_TEST_CASE(initial_gate_matrices_are_normal_with_deviation_0_02) {
  ModelConfig config = preset("small");
  config.method = "5.1D";
  config.params = Params::initial;
  const SyntheticWeights weights(config, 3);
  double n = 0, sum = 0, squares = 0, tail = 0;
  for (int64_t l = 0; l < config.num_hidden_layers; ++l) {
    for (const LearnedWeight& w : learned_weights(config, l)) {
      if (w.parameter.initial != Initial::normal) continue;
      for (const double value : read(weights, w.info)) {
        ++n;
        sum += value;
        squares += value * value;
        tail += std::fabs(value) > 1.96 * 0.02;
      }
    }
  }
  BOOST_TEST(n > 1000);
  BOOST_TEST(std::fabs(sum / n) <= 5 * 0.02 / std::sqrt(n));
  BOOST_TEST(std::fabs(squares / n / 4e-4 - 1) <= 5 * std::sqrt(2 / n));
  BOOST_TEST(std::fabs(tail / n - 0.05) <= 5 * std::sqrt(0.05 * 0.95 / n));
}

// Where coefficients may have either sign, every layer beyond the first has one below zero.
BOOST_AUTO_TEST_CASE(generic_parameters_are_in_bf16_and_away_from_where_training_starts) {
  for_learned(Params::generic, [&](const ModelConfig& config, const LearnedWeight& w,
                                   const std::vector<double>& values) {
    const double start = start_of(w.parameter.initial, config);
    bool differs = false, negative = false;
    for (const double value : values) {
      BOOST_TEST(round_to_bf16(value) == value);
      differs = differs || std::fabs(value - start) > 1e-3;
      negative = negative || value < 0;
    }
    BOOST_TEST(differs, config.method << ": " << w.info.name);
    if (w.parameter.any_sign) {
      BOOST_TEST(negative == (values.size() > 1), w.info.name);
      for (const double value : values) {
        BOOST_TEST(std::fabs(value) >= 0.74 * start);
        BOOST_TEST(std::fabs(value) <= 2.01 * start);
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(weights_do_not_depend_on_the_number_of_threads) {
  const ModelConfig config = preset("small");
  const SyntheticWeights weights(config, 9);
  for (const TensorInfo& info : weight_list(config)) {
    const std::vector<double> many = read(weights, info);
    const tbb::global_control one(tbb::global_control::max_allowed_parallelism, 1);
    BOOST_TEST((read(weights, info) == many), info.name);
  }
}

BOOST_AUTO_TEST_CASE(seeds_and_names_give_different_numbers) {
  const ModelConfig config = preset("tiny");
  const TensorInfo query{"model.layers.0.self_attn.q_proj.weight", {32, 32}, "DD"};
  const TensorInfo next{"model.layers.1.self_attn.q_proj.weight", {32, 32}, "DD"};
  const SyntheticWeights one(config, 1), two(config, 2);
  BOOST_TEST((read(one, query) != read(two, query)));
  BOOST_TEST((read(one, query) != read(one, next)));
}

BOOST_AUTO_TEST_CASE(a_weight_that_is_not_there_or_of_another_size_is_refused) {
  const SyntheticWeights weights(preset("tiny"), 1);
  std::vector<double> out(7);
  const auto says = [](const char* text) {
    return [text](const InputError& error) { return error.what() == std::string(text); };
  };
  BOOST_CHECK_EXCEPTION(weights.read("model.norm.bias", out), InputError,
                        says("weight model.norm.bias: this model has no such weight"));
  BOOST_CHECK_EXCEPTION(weights.read("model.norm.weight", out), InputError,
                        says("weight model.norm.weight: expected [32], got 7 elements"));
}

BOOST_AUTO_TEST_CASE(tokens_are_of_the_vocabulary_and_reach_both_ends) {
  const std::vector<int32_t> tokens = synthetic_tokens(10, 3, 200, 5);
  BOOST_TEST(tokens.size() == 600u);
  const auto [low, high] = std::minmax_element(tokens.begin(), tokens.end());
  BOOST_TEST(*low == 0);
  BOOST_TEST(*high == 9);
  BOOST_TEST((synthetic_tokens(10, 3, 200, 6) != tokens));
}

}  // namespace assay::golden
