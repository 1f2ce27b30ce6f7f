// Where one method becomes another: at the values that training starts from, and in the two
// identities that an implementation's speed rests on (one product for a sum of products).
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "golden/contract/names.h"
#include "tests/reference/methods/brute_force_scores.h"
#include "tests/reference/models.h"
#include "tests/reference/random.h"

namespace assay::reference::testing {
namespace {

constexpr uint64_t kSeed = 91;
constexpr int64_t kBatch = 2, kPositions = 6, kLayers = 3;

ModelConfig config_of(const std::string& method, const std::string& form = "") {
  ModelConfig config = ragged_config(method, kLayers);
  config.form = form;
  if (golden::find_method(method).takes("score_positions")) config.score_positions = kPositions;
  return config;
}

Inputs inputs_of(const ModelConfig& config) {
  return random_inputs(config, kBatch, kPositions, kSeed, {0, 2});
}

// With the parameters that training starts from; gates give 0.
Tensors at_start(const ModelConfig& config) {
  return run_model(config, inputs_of(config), transparent_weights(config, kSeed));
}

void check_same_bits(const ModelConfig& config, const Tensors& got, const Tensors& expected) {
  BOOST_TEST(got.size() == expected.size());
  for (const auto& [name, tensor] : expected) {
    BOOST_TEST(same_bits(got.at(name).values, tensor.values), title(config) << ": " << name);
  }
}

void check_near(const Tensors& got, const Tensors& expected, double tolerance) {
  for (const auto& [name, tensor] : expected) {
    BOOST_TEST(relative_error(got.at(name).values, tensor.values) <= tolerance, name);
  }
}

std::size_t at(int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace

BOOST_AUTO_TEST_SUITE(reductions)

// Dh = 4; that no bit moves holds for any Dh, since the learned factor is exactly 1 (Dh = 6 too).
BOOST_AUTO_TEST_CASE(learned_scores_start_as_method_5_1_bit_for_bit) {
  for (const int64_t head_dim : {4, 6}) {
    ModelConfig summed = config_of("5.1");
    summed.head_dim = head_dim;
    const Tensors expected = at_start(summed);
    for (const ModelConfig& config :
         {config_of("5.5"), config_of("5.5", "softmax"), config_of("5.5", "free"), config_of("5.6"),
          config_of("5.6", "log"), config_of("5.7"), config_of("5.7", "log"), config_of("5.8"),
          config_of("5.1A"), config_of("5.1B"), config_of("5.1C"), config_of("5.1D"),
          config_of("5.1E")}) {
      ModelConfig learned = config;
      learned.head_dim = head_dim;
      check_same_bits(learned, at_start(learned), expected);
    }
  }
}

BOOST_AUTO_TEST_CASE(learned_powers_start_as_the_mean_of_scores_bit_for_bit) {
  check_same_bits(config_of("5.4"), at_start(config_of("5.4")), at_start(config_of("5.3")));
}

BOOST_AUTO_TEST_CASE(a_gate_that_gives_zero_leaves_own_scores_plain_bit_for_bit) {
  check_same_bits(config_of("D-base"), at_start(config_of("D-base")), at_start(config_of("plain")));
}

// softmax of equal theta is 1/m; m products and their sum against one product of the sum.
BOOST_AUTO_TEST_CASE(learned_means_start_as_means) {
  for (const auto residual : {golden::Residual::keep, golden::Residual::replace}) {
    for (const auto& [learned, mean] : {std::pair("3.2", "3.1"), std::pair("4.2", "4.1")}) {
      ModelConfig a = config_of(learned), b = config_of(mean);
      a.residual = b.residual = residual;
      check_near(at_start(a), at_start(b), 1e-12);
    }
  }
}

// All weight on the layer's own output: plain. All on layer 0: that output alone is added.
BOOST_AUTO_TEST_CASE(a_mean_with_all_weight_on_one_term_is_that_term) {
  for (const auto& [method, site] : {std::pair("3.2", "mlp"), std::pair("4.2", "attn")}) {
    const ModelConfig config = config_of(method);
    const Inputs inputs = inputs_of(config);
    Tensors weights = synthetic_weights(config, kSeed);
    const auto choose = [&](bool own) {
      for (const int64_t l : {1, 2}) {
        std::vector<double> theta(at(l + 1), -1000.0);
        (own ? theta.back() : theta.front()) = 1000;
        weights.at("model.layers." + std::to_string(l) + ".mix.weight").values = theta;
      }
      return run_model(config, inputs, weights);
    };
    const Tensors own = choose(true);
    for (const auto& [name, tensor] : run_model(config_of("plain"), inputs, weights)) {
      BOOST_TEST(relative_error(own.at(name).values, tensor.values) == 0, name);
    }
    const Tensors first = choose(false);
    const std::string out = std::string(site) + "_out";
    BOOST_TEST(relative_error(first.at("layers/2/" + std::string(site) + "/sum").values,
                              first.at("layers/2/recompute/0/" + out).values) == 0);
  }
}

// Layers that add nothing and share their projections have equal scores, whose mean is any of them.
BOOST_AUTO_TEST_CASE(the_mean_of_equal_scores_is_each_of_them) {
  const ModelConfig mean = config_of("5.3");
  Tensors weights = synthetic_weights(mean, kSeed);
  for (auto& [name, weight] : weights) {
    const bool silent =
        name.find("o_proj") != std::string::npos || name.find("down_proj") != std::string::npos;
    if (silent) std::fill(weight.values.begin(), weight.values.end(), 0.0);
    const std::string layer = "model.layers.";
    if (silent || !name.starts_with(layer)) continue;
    weight = weights.at(layer + "0" + name.substr(layer.size() + 1));
  }
  const Inputs inputs = inputs_of(mean);
  check_near(run_model(mean, inputs, weights), run_model(config_of("plain"), inputs, weights),
             1e-14);
}

// sum_j act_j Wdown_j^T is one product of the inner features side by side, and likewise
// sum_j context_j Wo_j^T.
BOOST_AUTO_TEST_CASE(the_sum_over_layers_is_one_product_over_stacked_features) {
  for (const bool mlp : {true, false}) {
    const ModelConfig config = config_of(mlp ? "1" : "2");
    const Tensors weights = synthetic_weights(config, kSeed);
    const Tensors got = run_model(config, inputs_of(config), weights);
    const Tensor& sum = got.at(mlp ? "layers/2/mlp/sum" : "layers/2/attn/sum");
    const int64_t D = config.hidden_size;
    std::vector<double> stacked(sum.values.size(), 0.0);
    for (std::size_t i = 0; i < stacked.size(); ++i) {
      const int64_t row = static_cast<int64_t>(i) / D, d = static_cast<int64_t>(i) % D;
      for (const std::string j : {"0", "1"}) {  // one running sum over both layers' features
        const Tensor& x = got.at("layers/2/recompute/" + j + (mlp ? "/mlp_act" : "/context"));
        const Tensor& w = weights.at("model.layers." + j +
                                     (mlp ? ".mlp.down_proj.weight" : ".self_attn.o_proj.weight"));
        const int64_t K = x.shape[2];
        for (int64_t k = 0; k < K; ++k) {
          stacked[i] += x.values[at(row * K + k)] * w.values[at(d * K + k)];
        }
      }
    }
    BOOST_TEST(relative_error(stacked, sum.values) <= 1e-13);
  }
}

// sum_i c_i Q_i K_i^T = [c_0 Q_0, .., c_l Q_l] [K_0, .., K_l]^T: one product of heads side by side.
BOOST_AUTO_TEST_CASE(accumulated_scores_are_one_product_of_concatenated_heads) {
  for (const ModelConfig& config :
       {config_of("5.1"), config_of("5.2"), config_of("5.3"), config_of("5.4"), config_of("5.5"),
        config_of("5.5", "softmax"), config_of("5.5", "free"), config_of("5.6"),
        config_of("5.6", "log"), config_of("5.7"), config_of("5.7", "log"), config_of("5.8")}) {
    const Tensors weights = synthetic_weights(config, kSeed);
    const Tensors got = run_model(config, inputs_of(config), weights);
    const int64_t l = 2, H = config.num_attention_heads, Hkv = config.num_key_value_heads,
                  Dh = config.head_dim, T = kPositions;
    const ScoreRule rule(config, weights, "model.layers.2.", l, got.at("layers/2/attn_norm"));
    const Tensor& scores = got.at("layers/2/attn/scores");
    std::vector<double> stacked = scores.values;
    for (int64_t e = 0; e < golden::element_count(scores.shape); ++e) {
      if (scores.values[at(e)] == -INFINITY) continue;
      const int64_t s = e % T, row = e / T, plane = row / T;
      const int64_t key = (plane / H * Hkv + plane % H / (H / Hkv)) * T + s;
      double sum = 0;
      for (int64_t d = 0; d < (l + 1) * Dh; ++d) {
        const int64_t i = d / Dh;
        const double q = got.at(golden::layer_name(i, "attn/q")).values[at(row * Dh + d % Dh)];
        const double k = got.at(golden::layer_name(i, "attn/k")).values[at(key * Dh + d % Dh)];
        sum += rule.factor(i, 0, 0, 0) * q * k;
      }
      stacked[at(e)] = sum;
    }
    BOOST_TEST(relative_error(stacked, scores.values) <= 1e-13, title(config));
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
