// One row of three tokens through two layers, with numbers that a reader can check with a pencil.
// What comes before the place that a case is about is forced to small whole numbers.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "golden/contract/methods.h"
#include "reference/methods/registry.h"
#include "tests/reference/models.h"
#include "tests/reference/random.h"

namespace tt = boost::test_tools;

namespace assay::reference::testing {
namespace {

constexpr int64_t kT = 3;
const double kNo = -1e300;  // stands for -inf, whose distance to itself is not a number

// B = 1, T = 3, L = 2, one head of size 4, D = 2.
struct Setup {
  explicit Setup(const std::string& method, const std::string& form = "")
      : config(ragged_config(method, 2)) {
    config.hidden_size = 2;
    config.intermediate_size = 1;
    config.num_attention_heads = config.num_key_value_heads = 1;
    config.form = form;
    if (golden::find_method(method).takes("score_positions")) config.score_positions = kT;
    weights = synthetic_weights(config, 1);
  }
  void set(const std::string& name, std::vector<double> values) {
    Tensor& weight = weights.at(name);
    BOOST_REQUIRE(weight.values.size() == values.size());
    weight.values = std::move(values);
  }
  Tensors run() const {
    Collector collector;
    collector.forced = forced;
    evaluate(*build_model(config, 1, kT),
             bind_model({1, kT, {0, 1, 2}, {1, 1, 1}, {0, 1, 2}}, weights), collector);
    return std::move(collector.tensors);
  }

  ModelConfig config;
  Tensors weights, forced;
};

// q_0 = (1,2,3) and q_1 = (2,2,4) times (1,0,0,0), k_0 = (1,3,2) and k_1 = (2,1,3) times the same:
//   S_0 = [1 . .]     S_1 = [4 . .]      (dots: not allowed)
//         [2 6 .]           [4 2 .]
//         [3 9 6]           [8 4 12]
std::vector<double> last_scores(Setup setup) {
  const auto spread = [](std::vector<double> firsts) {
    Tensor x{{1, 1, kT, 4}, std::vector<double>(4 * kT, 0.0)};
    for (std::size_t t = 0; t < firsts.size(); ++t) x.values[4 * t] = firsts[t];
    return x;
  };
  setup.forced["layers/0/attn/q"] = spread({1, 2, 3});
  setup.forced["layers/0/attn/k"] = spread({1, 3, 2});
  setup.forced["layers/1/attn/q"] = spread({2, 2, 4});
  setup.forced["layers/1/attn/k"] = spread({2, 1, 3});
  return setup.run().at("layers/1/attn/scores").values;
}

void check_scores(const Setup& setup, const std::vector<double>& due) {
  std::vector<double> scores = last_scores(setup);
  std::replace(scores.begin(), scores.end(), -HUGE_VAL, kNo);
  BOOST_TEST(scores == due, tt::tolerance(1e-14) << tt::per_element());
}

const std::string kScore = "model.layers.1.self_attn.score.";

// Layers whose attention and MLP can be followed: X_1 = (3,4), (0,5), (4,3) is forced, norms have
// gain 1, Wv picks features 1 and 2 (and zeros), Wo of layer 0 gives them back 5-fold; A_0 is
// forced to uniform rows. eps = 1e-30 rounds away; rms of each X_1 row is 5 / sqrt(2).
Setup recompute_setup(const std::string& method) {
  Setup setup(method);
  setup.config.rms_norm_eps = 1e-30;
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    setup.set(layer + "input_layernorm.weight", {1, 1});
    setup.set(layer + "self_attn.v_proj.weight", {1, 0, 0, 1, 0, 0, 0, 0});
  }
  const double r = 5 / std::sqrt(2.0);
  setup.set("model.layers.0.self_attn.o_proj.weight", {r, 0, 0, 0, 0, r, 0, 0});
  setup.forced["layers/0/attn/probs"] = {{1, 1, kT, kT}, {1, 0, 0, 0.5, 0.5, 0, 0.25, 0.5, 0.25}};
  setup.forced["layers/1/input"] = {{1, kT, 2}, {3, 4, 0, 5, 4, 3}};
  setup.forced["layers/1/attn/out"] = {{1, kT, 2}, {1, 1, 2, 2, 3, 3}};
  return setup;
}

// Wv and Wo undo the norm: o_{0>1} = A_0 X_1 = (3,4); (3+0, 4+5)/2 = (1.5, 4.5);
// (3+0+4, 4+10+3)/4 with weights 1/4, 1/2, 1/4 = (1.75, 4.25)
const std::vector<double> kAgain{3, 4, 1.5, 4.5, 1.75, 4.25};

void check_stream(const Setup& setup, const std::vector<double>& sum,
                  const std::vector<double>& stream) {
  const Tensors got = setup.run();
  const auto near = tt::tolerance(1e-14);
  BOOST_TEST(got.at("layers/1/recompute/0/attn_out").values == kAgain, near << tt::per_element());
  BOOST_TEST(got.at("layers/1/attn/sum").values == sum, near << tt::per_element());
  BOOST_TEST(got.at("layers/1/attn_residual").values == stream, near << tt::per_element());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(by_hand)

// X_1 + O_1 + o: (3+1+3, 4+1+4), (0+2+1.5, 5+2+4.5), (4+3+1.75, 3+3+4.25)
BOOST_AUTO_TEST_CASE(method_2_and_plan_b_add_the_attention_of_layer_0_again) {
  for (const std::string method : {"2", "1-plan-b"}) {
    check_stream(recompute_setup(method), kAgain, {7, 9, 3.5, 11.5, 8.75, 10.25});
  }
}

BOOST_AUTO_TEST_CASE(method_2_without_its_residual_leaves_out_the_stream) {
  Setup setup = recompute_setup("2");
  setup.config.residual = golden::Residual::replace;
  check_stream(setup, kAgain, {4, 5, 3.5, 6.5, 4.75, 7.25});
}

// The layer's own output (1,1), (2,2), (3,3) is nowhere: X_1 + o.
BOOST_AUTO_TEST_CASE(plan_a_replaces_the_own_attention) {
  check_stream(recompute_setup("1-plan-a"), kAgain, {6, 8, 1.5, 9.5, 5.75, 7.25});
}

// (O_1 + o) / 2 = (2, 2.5), (1.75, 3.25), (2.375, 3.625)
BOOST_AUTO_TEST_CASE(method_4_1_adds_the_mean_of_both_outputs) {
  check_stream(recompute_setup("4.1"), {2, 2.5, 1.75, 3.25, 2.375, 3.625},
               {5, 6.5, 1.75, 8.25, 6.375, 6.625});
}

// softmax(ln 3, 0) = (3/4, 1/4): 3/4 o + 1/4 O_1, layer 0 first, the own output last.
BOOST_AUTO_TEST_CASE(method_4_2_weighs_layer_0_before_the_own_output) {
  Setup setup = recompute_setup("4.2");
  setup.set("model.layers.1.mix.weight", {std::log(3.0), 0});
  check_stream(setup, {2.5, 3.25, 1.625, 3.875, 2.0625, 3.9375},
               {5.5, 7.25, 1.625, 8.875, 6.0625, 6.9375});
}

// r = (4,8), (2,6), (0,4) and U = (2,2), (4,4), (6,6) are forced, Y = (1,1) everywhere.
//   1    Y + U + r                      3.1  Y + (U + r)/2 = 1 + (3,5), (3,5), (3,5)
//   3.2  w = softmax(ln 3, 0): 3/4 r + 1/4 U = (3.5,6.5), (2.5,5.5), (1.5,4.5)
BOOST_AUTO_TEST_CASE(methods_1_and_3_add_at_the_mlp) {
  const auto output = [](const std::string& method, golden::Residual residual) {
    Setup setup(method);
    setup.config.residual = residual;
    if (method == "3.2") setup.set("model.layers.1.mix.weight", {std::log(3.0), 0});
    setup.forced["layers/1/recompute/0/mlp_out"] = {{1, kT, 2}, {4, 8, 2, 6, 0, 4}};
    setup.forced["layers/1/mlp/out"] = {{1, kT, 2}, {2, 2, 4, 4, 6, 6}};
    setup.forced["layers/1/attn_residual"] = {{1, kT, 2}, {1, 1, 1, 1, 1, 1}};
    return setup.run().at("layers/1/output").values;
  };
  const auto keep = golden::Residual::keep, replace = golden::Residual::replace;
  const auto near = tt::tolerance(1e-14);
  using Due = std::vector<double>;
  BOOST_TEST(output("1", keep) == (Due{7, 11, 7, 11, 7, 11}), tt::per_element());
  BOOST_TEST(output("1", replace) == (Due{6, 10, 6, 10, 6, 10}), tt::per_element());
  BOOST_TEST(output("3.1", keep) == (Due{4, 6, 4, 6, 4, 6}), tt::per_element());
  BOOST_TEST(output("3.1", replace) == (Due{3, 5, 3, 5, 3, 5}), tt::per_element());
  BOOST_TEST(output("3.2", keep) == (Due{4.5, 7.5, 3.5, 6.5, 2.5, 5.5}), near << tt::per_element());
  BOOST_TEST(output("3.2", replace) == (Due{3.5, 6.5, 2.5, 5.5, 1.5, 4.5}),
             near << tt::per_element());
}

// Dh = 4, m = 2: S_0 + S_1 = [5; 6 8; 11 13 18]; sqrt(Dh) = 2.
BOOST_AUTO_TEST_CASE(coefficients_without_parameters) {
  check_scores(Setup("5.1"), {2.5, kNo, kNo, 3, 4, kNo, 5.5, 6.5, 9});
  const double root = std::sqrt(8.0);
  check_scores(Setup("5.2"),
               {5 / root, kNo, kNo, 6 / root, 8 / root, kNo, 11 / root, 13 / root, 18 / root});
  check_scores(Setup("5.3"), {1.25, kNo, kNo, 1.5, 2, kNo, 2.75, 3.25, 4.5});
}

// 4^1.5 = 8 and 2^-1 = 1/2: the sum / 4.  4^-0.5 = 1/2: twice the sum.
BOOST_AUTO_TEST_CASE(learned_powers) {
  Setup four("5.4");
  four.set(kScore + "a", {1.5});
  four.set(kScore + "b", {-1});
  check_scores(four, {1.25, kNo, kNo, 1.5, 2, kNo, 2.75, 3.25, 4.5});
  Setup eight("5.8");
  eight.set(kScore + "a", {-0.5});
  check_scores(eight, {10, kNo, kNo, 12, 16, kNo, 22, 26, 36});
}

// All forms that give S_0 the coefficient 1/2 and S_1 the coefficient 1/4:
//   [1/2 + 1; 1 + 1, 3 + 1/2; 3/2 + 2, 9/2 + 1, 3 + 3]
BOOST_AUTO_TEST_CASE(learned_divisors) {
  const std::vector<double> due{1.5, kNo, kNo, 2, 3.5, kNo, 3.5, 5.5, 6};
  const auto with = [&](const char* method, const char* form,
                        const std::vector<std::pair<std::string, std::vector<double>>>& values) {
    Setup setup(method, form);
    for (const auto& [name, value] : values) setup.set(kScore + name, value);
    BOOST_TEST_CONTEXT(title(setup.config)) { check_scores(setup, due); }
  };
  const double ln2 = std::log(2.0);
  with("5.5", "exp", {{"alpha", {0, ln2}}});             // 1/(1*2), 1/(2*2)
  with("5.5", "free", {{"a", {1, 2}}});                  // the same
  with("5.6", "free", {{"a", {2, 1}}, {"b", {0, 1}}});   // 1/(2*1), 1/(1*4)
  with("5.6", "log", {{"u", {ln2, 0}}, {"b", {0, 1}}});  // the same
  with("5.7", "free", {{"a", {2, 4}}});                  // 1/2, 1/4
  with("5.7", "log", {{"u", {ln2, 2 * ln2}}});           // the same
}

// m softmax(ln 3, 0) = (3/2, 1/2), over 2: 3/4 S_0 + 1/4 S_1.  a_0 = -1: S_1/2 - S_0/2.
BOOST_AUTO_TEST_CASE(shares_that_sum_to_m_and_divisors_below_zero) {
  Setup shares("5.5", "softmax");
  shares.set(kScore + "z", {std::log(3.0), 0});
  check_scores(shares, {1.75, kNo, kNo, 2.5, 5, kNo, 4.25, 7.75, 7.5});
  Setup negative("5.5", "free");
  negative.set(kScore + "a", {-1, 1});
  check_scores(negative, {1.5, kNo, kNo, 1, -2, kNo, 2.5, -2.5, 3});
}

// Factors on S_0 of 1 but at one place, where it is 3; on S_1 of 1. Without them 5.1's scores
// [2.5; 3 4; 5.5 6.5 9]; with the factor S_0 counts 2/2 more.
//   A  at (t,s) = (2,1): 6.5 + 9        B  for key 1: 4 + 6, 6.5 + 9
//   C  for query 1: 3 + 2, 4 + 6
BOOST_AUTO_TEST_CASE(factors_per_element_key_and_query) {
  const double ln3 = std::log(3.0);
  Setup element("5.1A"), key("5.1B"), query("5.1C");
  std::vector<double> w(18, 0.0);
  w[2 * 3 + 1] = ln3;
  element.set(kScore + "w", w);
  key.set(kScore + "w", {0, ln3, 0, 0, 0, 0});
  query.set(kScore + "w", {0, ln3, 0, 0, 0, 0});
  check_scores(element, {2.5, kNo, kNo, 3, 4, kNo, 5.5, 15.5, 9});
  check_scores(key, {2.5, kNo, kNo, 3, 10, kNo, 5.5, 15.5, 9});
  check_scores(query, {2.5, kNo, kNo, 5, 10, kNo, 5.5, 6.5, 9});
}

// S_1/2 = [2; 2 1; 4 2 6], times exp(w) + 1 = 2, 4, 3, plus c = 0, 1, -1.
BOOST_AUTO_TEST_CASE(c_base_scales_and_shifts_a_row) {
  Setup setup("C-base");
  setup.set(kScore + "w", {0, std::log(3.0), std::log(2.0)});
  setup.set(kScore + "c", {0, 1, -1});
  check_scores(setup, {4, kNo, kNo, 9, 5, kNo, 11, 5, 17});
}

// The gate by hand: attn_norm is forced to (1,1), (-1,-1), (2,2), RMSNorm' gives (1,1), (-1,-1),
// (1,1). W1 has rows (1/2,1/2) and (0,0): inner (1,0), (-1,0), (1,0); GELU(1) = G = 1/2 (1 +
// erf(1/sqrt 2)) and GELU(-1) = G - 1. W2 = [ln 2 0; 0 0] / G, b = 0: g_0 = ln 2, (1 - 1/G) ln 2,
// ln 2; g_1 = 0. So S_0 has the factors 2, f, 2 with f = 2^(1 - 1/G), S_1 the factor 1. That of
// D-base has the first row of each.
BOOST_AUTO_TEST_CASE(gates_give_factors_to_queries_or_keys) {
  const double G = 0.5 * (1 + std::erf(1 / std::sqrt(2.0))), f = std::exp2(1 - 1 / G);
  const auto gated = [&](const char* method) {
    Setup setup(method);
    const bool own = std::string(method) == "D-base";
    setup.set(kScore + "gate.norm", {1, 1});
    setup.set(kScore + "gate.w1",
              own ? std::vector<double>{0.5, 0.5} : std::vector<double>{0.5, 0.5, 0, 0});
    const double w = std::log(2.0) / G;
    setup.set(kScore + "gate.w2", own ? std::vector<double>{w} : std::vector<double>{w, 0, 0, 0});
    setup.set(kScore + "gate.bias", std::vector<double>(own ? 1 : 2, 0.0));
    setup.forced["layers/1/attn_norm"] = {{1, kT, 2}, {1, 1, -1, -1, 2, 2}};
    return setup;
  };
  check_scores(gated("5.1D"), {(2 * 1 + 4) / 2.0, kNo, kNo, (f * 2 + 4) / 2, (f * 6 + 2) / 2, kNo,
                               (2 * 3 + 8) / 2.0, (2 * 9 + 4) / 2.0, (2 * 6 + 12) / 2.0});
  check_scores(gated("5.1E"), {(2 * 1 + 4) / 2.0, kNo, kNo, (2 * 2 + 4) / 2.0, (f * 6 + 2) / 2, kNo,
                               (2 * 3 + 8) / 2.0, (f * 9 + 4) / 2, (2 * 6 + 12) / 2.0});
  check_scores(gated("D-base"), {2 * 2, kNo, kNo, f * 2, f * 1, kNo, 2 * 4, 2 * 2, 2 * 6});
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
