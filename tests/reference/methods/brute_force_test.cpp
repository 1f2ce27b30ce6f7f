// Every named tensor of every method against a second evaluator that shares no code with the
// reference, on ragged configurations; and one whole layer by hand.
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "reference/methods/registry.h"
#include "tests/reference/methods/brute_force.h"
#include "tests/reference/models.h"
#include "tests/reference/random.h"

namespace tt = boost::test_tools;

namespace assay::reference::testing {
namespace {

// Sums of some tens of terms in another order, a few layers deep, relative to the largest element
// of each tensor. The test prints the largest deviation of every method: at most 5.8e-14, without
// the block's residual (a norm then sees terms that nearly cancel), else 2.3e-14. Of 40 seeds one
// goes beyond 1e-13, in four tensors and to 1.5e-13: a LayerNorm of two nearly equal numbers (D =
// 2).
constexpr double kTolerance = 1e-13;

struct Situation {
  std::string what;
  ModelConfig config;
  int64_t batch, positions;
  std::vector<int64_t> padding;
};

std::vector<Situation> situations(const ModelConfig& method) {
  ModelConfig tied = method, grouped = method, multi_query = method, tiny = method;
  ModelConfig windowed = method, with_sinks = method;
  tied.tie_word_embeddings = true;
  if (method.block == golden::BlockKind::llama) {
    tied.rope_scaling = {8, 1, 4, 64};
    tied.rope_theta = 1000;
  }
  grouped.num_attention_heads = grouped.num_key_value_heads = 3;
  grouped.head_dim = 6;
  grouped.num_hidden_layers = 4;
  grouped.rms_norm_eps = grouped.layer_norm_eps = 1e-2;
  grouped.activation = method.activation == golden::Activation::gelu ? golden::Activation::gelu_new
                                                                     : golden::Activation::gelu;
  multi_query.num_key_value_heads = 1;
  multi_query.hidden_size = 5;
  tiny.hidden_size = tiny.head_dim = tiny.intermediate_size = tiny.num_hidden_layers = 2;
  tiny.num_attention_heads = tiny.num_key_value_heads = 1;
  windowed.window = 3;
  ModelConfig by_layer = windowed;
  by_layer.full_layers = {0, 2};
  if (method.block == golden::BlockKind::llama) {
    by_layer.attention_bias = golden::AttentionBias::qkv;
    tiny.qk_norm = true;
  }
  with_sinks.window = with_sinks.sink_tokens = 2;
  ModelConfig dynamic = method;
  dynamic.window = 5;
  dynamic.window_kind = golden::WindowKind::dynamic;
  ModelConfig dynamic_by_layer = dynamic;
  dynamic_by_layer.window_min = 2;
  dynamic_by_layer.sink_tokens = 1;
  dynamic_by_layer.full_layers = {1};
  return {{"GQA, left padding", method, 3, 6, {0, 2, 1}},
          {"window 3", windowed, 2, 7, {0, 3}},
          {"window 3 in layer 1, biases of q, k and v", by_layer, 2, 7, {0, 3}},
          {"window 2, 2 sinks", with_sinks, 2, 7, {1}},
          {"dynamic window 1 to 5", dynamic, 3, 9, {0, 4, 9}},
          {"dynamic window 2 to 5, a sink, not in layer 1", dynamic_by_layer, 2, 8, {0, 2}},
          {"tied head, scaled RoPE", tied, 2, 9, {3}},
          {"MHA, four layers", grouped, 1, 7, {}},
          {"MQA", multi_query, 2, 5, {0, 5}},  // the second row is nothing but padding
          {"one head of size 2, normed", tiny, 1, 3, {}},
          {"one position", method, 2, 1, {}}};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(brute_force_evaluator)

BOOST_AUTO_TEST_CASE(agrees_on_every_named_tensor) {
  for (const ModelConfig& method : every_method()) {
    double largest = 0;
    std::string where;
    for (const Situation& s : situations(method)) {
      for (const uint64_t seed : {51u, 52u}) {
        const Inputs inputs = random_inputs(s.config, s.batch, s.positions, seed, s.padding);
        const Tensors weights = synthetic_weights(s.config, seed);
        const Tensors got = run_model(s.config, inputs, weights);
        const Tensors expected = brute_force(s.config, inputs, weights);
        BOOST_TEST_CONTEXT(title(method) << ", " << s.what << ", seed " << seed) {
          BOOST_TEST(got.size() == expected.size());
          for (const auto& [name, tensor] : expected) {
            BOOST_REQUIRE_MESSAGE(got.contains(name), name);
            BOOST_TEST(got.at(name).shape == tensor.shape, tt::per_element());
            const double error = relative_error(got.at(name).values, tensor.values);
            BOOST_TEST(error <= kTolerance, name << ": " << error);
            if (!(error > largest)) continue;
            largest = error;
            where = s.what + ", " + name;
          }
        }
      }
    }
    BOOST_TEST_MESSAGE(title(method) << ": at most " << largest << " (" << where << ")");
    BOOST_TEST(largest > 0);  // two evaluators, not one twice
  }
}

// Methods must differ from each other on this data, or agreement would show nothing. Detached
// methods differ in gradients only, and plan B is method 2 detached.
BOOST_AUTO_TEST_CASE(methods_differ_from_one_another) {
  std::vector<std::pair<std::string, Tensor>> logits;
  for (const ModelConfig& config : every_method()) {
    if (config.detach_stored || config.method == "1-plan-b") continue;
    // A norm that reads nothing but the sum does not see the mean's factor 1/m.
    const bool sum_is_normed =
        config.norm == golden::NormPosition::post && config.residual == golden::Residual::replace;
    if (sum_is_normed && config.method.ends_with(".1")) continue;
    const Inputs inputs = random_inputs(config, 2, 6, 53);
    const Tensors got = run_model(config, inputs, synthetic_weights(config, 53));
    for (const auto& [other, values] : logits) {
      const double difference = relative_error(got.at("logits").values, values.values);
      BOOST_TEST(difference > 1e-3, title(config) << " and " << other);
    }
    logits.emplace_back(title(config), got.at("logits"));
  }
  BOOST_TEST(logits.size() > 25u);
}

// D = Dh = 2, F = 1, V = 2, L = 2, one token, eps so small that it rounds away. Every matrix is a
// multiple of the identity or picks the first feature, so that the numbers stay in the head.
//   x = (3, 3): rms 3, attn_norm_0 = (1, 1) with gain 1; one key, so A = 1 and O_0 = 2 (1, 1)
//   Y_0 = (5, 5); mlp_norm_0 = (1, 1); gate = up = ln 3; act = 3/4 (ln 3)^2 = a; U_0 = (a, 0)
//   X_1 = (5+a, 5).  Layer 1 has wo = 0 and w_down = 0: Y_1 = X_1, U_1 = 0.
//   Again layer 0 on X_1: norm (p, q) = X_1 / rms(X_1), o = 2 (p, q), X_1 + o = (5+a+2p, 5+2q)
BOOST_AUTO_TEST_CASE(method_1_by_hand) {
  ModelConfig config = ragged_config("1", 2);
  config.hidden_size = config.head_dim = config.vocab_size = 2;
  config.num_attention_heads = config.num_key_value_heads = config.intermediate_size = 1;
  config.rms_norm_eps = 1e-30;
  Tensors weights = synthetic_weights(config, 1);
  const double ln3 = std::log(3.0), a = 0.75 * ln3 * ln3;
  const auto set = [&](const std::string& name, std::vector<double> values) {
    weights.at(name + ".weight").values = std::move(values);
  };
  set("model.embed_tokens", {3, 3, 7, 7});
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    set(layer + "input_layernorm", {1, 1});
    set(layer + "post_attention_layernorm", {1, 1});
    set(layer + "self_attn.v_proj", {1, 0, 0, 1});
    set(layer + "mlp.gate_proj", {ln3, 0});
    set(layer + "mlp.up_proj", {ln3, 0});
    const bool first = layer == "model.layers.0.";
    set(layer + "self_attn.o_proj", {first ? 2.0 : 0.0, 0, 0, first ? 2.0 : 0.0});
    set(layer + "mlp.down_proj", {first ? 1.0 : 0.0, 0});
  }
  const Tensors got = run_model(config, {1, 1, {0}, {1}, {0}}, weights);
  const auto near = tt::tolerance(1e-14);
  BOOST_TEST(got.at("layers/1/input").values == (std::vector<double>{5 + a, 5}),
             near << tt::per_element());

  const double rms = std::sqrt(((5 + a) * (5 + a) + 25) / 2), p = (5 + a) / rms, q = 5 / rms;
  const double y0 = 5 + a + 2 * p, y1 = 5 + 2 * q;
  const double gate = ln3 * y0 / std::sqrt((y0 * y0 + y1 * y1) / 2);
  const double r = gate * gate / (1 + std::exp(-gate));
  BOOST_TEST(got.at("layers/1/recompute/0/attn_out").values == (std::vector<double>{2 * p, 2 * q}),
             near << tt::per_element());
  BOOST_TEST(got.at("layers/1/mlp/sum").values == (std::vector<double>{r, 0}),
             near << tt::per_element());
  BOOST_TEST(got.at("layers/1/output").values == (std::vector<double>{5 + a + r, 5}),
             near << tt::per_element());
}

// Method 1 on the GPT-2 block. D = Dh = 2, F = 1, L = 2, one token, eps so small that it rounds
// away: a LayerNorm of (a, b) is (1, -1) for a > b and (-1, 1) for a < b, times gain, plus bias.
// Layer 0: ln_1 has gain (1, 1) and bias (2, 1), ln_2 gain (2, 3); Wv = I, bv = (0, 10); Wo = 2 I,
// bo = (1, 0); up = n_0 + n_1 - 2; W_proj = (4, 0), b_proj = (0, 1). Layer 1 gives zeros. Phi is
// the normal distribution, p = Phi(1); gelu(1) = p, gelu(-1) = p - 1.
//   X_0 = wte + wpe = (1, 0) + (2, 1) = (3, 1)
Tensors run_gpt2_by_hand(golden::NormPosition norm) {
  ModelConfig config = with_gpt2_block(ragged_config("1", 2), norm);
  config.hidden_size = config.head_dim = config.vocab_size = 2;
  config.num_attention_heads = config.num_key_value_heads = config.intermediate_size = 1;
  config.activation = golden::Activation::gelu;
  config.layer_norm_eps = 1e-30;
  Tensors weights = synthetic_weights(config, 1);
  const auto set = [&](const std::string& name, std::vector<double> values) {
    BOOST_REQUIRE(weights.at(name).values.size() >= values.size());
    std::copy(values.begin(), values.end(), weights.at(name).values.begin());
  };
  for (auto& [name, weight] : weights) {
    std::fill(weight.values.begin(), weight.values.end(),
              name.ends_with("ln_1.weight") || name.ends_with("ln_2.weight"));
  }
  set("transformer.wte.weight", {1, 0});
  set("transformer.wpe.weight", {2, 1});
  const std::string layer = "transformer.h.0.";
  set(layer + "ln_1.bias", {2, 1});
  set(layer + "ln_2.weight", {2, 3});
  set(layer + "attn.c_attn.weight", {5, 0, 0, 5, 1, 0,  // the first feature to q, k, v
                                     0, 5, 5, 0, 0, 1});
  set(layer + "attn.c_attn.bias", {7, 7, 7, 7, 0, 10});
  set(layer + "attn.c_proj.weight", {2, 0, 0, 2});
  set(layer + "attn.c_proj.bias", {1, 0});
  set(layer + "mlp.c_fc.weight", {1, 1});
  set(layer + "mlp.c_fc.bias", {-2});
  set(layer + "mlp.c_proj.weight", {4, 0});
  set(layer + "mlp.c_proj.bias", {0, 1});
  return run_model(config, {1, 1, {0}, {1}, {0}}, weights);
}

constexpr double kPhiOfOne = 0.84134474606854293;

// h = (1, -1) + (2, 1) = (3, 0); v = (3, 10); O_0 = (7, 20); Y_0 = (10, 21); mlp_norm (-2, 3); up
// -1
//   X_1 = Y_0 + (4(p-1), 1) = (6+4p, 22)
// Again layer 0 on X_1: norm (-1, 1) + (2, 1) = (1, 2); v = (1, 12); o = (3, 24); X_1 + o =
// (9+4p, 46), mlp_norm (-2, 3), up -1, r = (4(p-1), 1)
BOOST_AUTO_TEST_CASE(method_1_on_gpt2_by_hand) {
  const Tensors got = run_gpt2_by_hand(golden::NormPosition::pre);
  const auto expect = [&](const char* name, std::vector<double> values) {
    BOOST_TEST(got.at(name).values == values, tt::tolerance(1e-14) << tt::per_element());
  };
  const double p = kPhiOfOne;
  expect("layers/0/attn/q", {15 + 7, 7});
  expect("layers/0/attn/k", {7, 15 + 7});
  expect("layers/0/attn/out", {7, 20});
  expect("layers/0/mlp_norm", {-2, 3});
  expect("layers/1/input", {6 + 4 * p, 22});
  expect("layers/1/recompute/0/attn_out", {3, 24});
  expect("layers/1/mlp/sum", {4 * (p - 1), 1});
  expect("layers/1/output", {2 + 8 * p, 23});
}

// Post-norm: v = X_0 + bv = (3, 11); O_0 = (7, 22); Y_0 = ln_1(10, 23) = (-1, 1) + (2, 1) = (1, 2);
// up 1; X_1 = ln_2(1+4p, 3) = (1, -1) times (2, 3) = (2, -3)
// Again layer 0 on X_1: v = (2, 7); o = (5, 14); ln_1(7, 11) = (1, 2), r = (4p, 1). Layer 1's own:
// ln_1(2, -3) = (1, -1); with r (1+4p, 0), whose norm is (1, -1)
BOOST_AUTO_TEST_CASE(method_1_on_post_norm_gpt2_by_hand) {
  const Tensors got = run_gpt2_by_hand(golden::NormPosition::post);
  const auto expect = [&](const char* name, std::vector<double> values) {
    BOOST_TEST(got.at(name).values == values, tt::tolerance(1e-14) << tt::per_element());
  };
  const double p = kPhiOfOne;
  expect("layers/0/attn_residual", {10, 23});
  expect("layers/0/attn_norm", {1, 2});
  expect("layers/0/mlp_residual", {1 + 4 * p, 3});
  expect("layers/1/input", {2, -3});
  expect("layers/1/recompute/0/attn_out", {5, 14});
  expect("layers/1/recompute/0/attn_norm", {1, 2});
  expect("layers/1/mlp/sum", {4 * p, 1});
  expect("layers/1/mlp_residual", {1 + 4 * p, 0});
  expect("layers/1/output", {1, -1});
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
