// Numbers that a reader can check with a pencil: everything but attention, which stands in
// hand_worked_attention_test.cpp.
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "golden/contract/error.h"
#include "reference/ops/add.h"
#include "reference/ops/cross_entropy.h"
#include "reference/ops/embedding.h"
#include "reference/ops/exponential.h"
#include "reference/ops/gelu.h"
#include "reference/ops/layer_norm.h"
#include "reference/ops/linear.h"
#include "reference/ops/positions.h"
#include "reference/ops/reciprocal.h"
#include "reference/ops/rms_norm.h"
#include "reference/ops/softmax.h"
#include "reference/ops/swiglu.h"
#include "reference/ops/weighted_sum.h"
#include "tests/reference/ops/hand_worked.h"

namespace tt = boost::test_tools;

namespace assay::reference::testing {

BOOST_AUTO_TEST_SUITE(hand_worked)

// mean(1, 49) = 25, r = sqrt(25 + 11) = 6: 1/6 * 12 = 2 and 7/6 * 6 = 7. The eps stands under the
// root: outside it, r would be 5 + 11.
BOOST_AUTO_TEST_CASE(rms_norm_of_a_pair) {
  const auto y = value_of({{{1, 1, 2}, "BTD", {1, 7}}, {{2}, "D", {12, 6}}},
                          [](auto& in) { return rms_norm(in[0], in[1], 11.0); });
  BOOST_TEST(y == (std::vector<double>{2, 7}), tt::tolerance(1e-15) << tt::per_element());
}

// y = x W^T with W [2,3]: 1*1 + 2*0 + 3*(-1) = -2 and 1*2 + 2*5 + 3*1 = 15.
BOOST_AUTO_TEST_CASE(linear_reads_its_weight_as_out_by_in) {
  const auto y = value_of({{{1, 1, 3}, "BTD", {1, 2, 3}}, {{2, 3}, "DD", {1, 0, -1, 2, 5, 1}}},
                          [](auto& in) { return linear(in[0], in[1]); });
  BOOST_TEST(y == (std::vector<double>{-2, 15}), tt::per_element());
}

// The same weight stored as [3,2], with biases 10 and 20.
BOOST_AUTO_TEST_CASE(linear_reads_a_conv1d_weight_as_in_by_out) {
  const auto y = value_of(
      {{{1, 1, 3}, "BTD", {1, 2, 3}}, {{3, 2}, "DD", {1, 2, 0, 5, -1, 1}}, {{2}, "D", {10, 20}}},
      [](auto& in) { return linear(in[0], in[1], in[2], WeightLayout::in_out); });
  BOOST_TEST(y == (std::vector<double>{8, 35}), tt::per_element());
}

// Only output 1 of the two is wanted, so only its weights and its bias are read.
BOOST_AUTO_TEST_CASE(linear_reads_the_columns_it_is_asked_for) {
  const double unread = std::nan("");
  const auto y = value_of({{{1, 1, 3}, "BTD", {1, 2, 3}},
                           {{3, 2}, "DD", {unread, 2, unread, 5, unread, 1}},
                           {{2}, "D", {unread, 20}}},
                          [](auto& in) {
                            return linear(in[0], in[1], in[2], WeightLayout::in_out, Columns{1, 1});
                          });
  BOOST_TEST(y == (std::vector<double>{35}), tt::per_element());
}

BOOST_AUTO_TEST_CASE(columns_beyond_the_weight_are_refused) {
  Graph graph;
  const Node x = graph.input("x", {1, 1, 3}, "BTD");
  const Node w = graph.weight("w", {3, 2}), b = graph.weight("b", {2});
  BOOST_CHECK_EXCEPTION(
      linear(x, w, b, WeightLayout::in_out, Columns{1, 2}), InputError, [](const InputError& e) {
        return std::string(e.what()) == "linear: outputs of the weight: expected at least 3, got 2";
      });
}

// (0, 2, 4, 6): mean 3, c = (-3, -1, 1, 3), mean of squares 5; r = sqrt(5 + 4) = 3. Divided by
// D - 1 instead of D the variance would be 20/3.
BOOST_AUTO_TEST_CASE(layer_norm_of_four) {
  const auto y = value_of(
      {{{1, 1, 4}, "BTD", {0, 2, 4, 6}}, {{4}, "D", {1, 3, 6, 2}}, {{4}, "D", {0.5, 0, -1, 10}}},
      [](auto& in) { return layer_norm(in[0], in[1], in[2], 4.0); });
  BOOST_TEST(y == (std::vector<double>{-0.5, -1, 1, 12}), tt::tolerance(1e-15)
                                                              << tt::per_element());
}

// A mean of 2^30 beside a spread of 1: E[x^2] - E[x]^2 would be lost in rounding (2^60 has a unit
// of 2^8), two passes are exact.
BOOST_AUTO_TEST_CASE(layer_norm_takes_the_mean_off_first) {
  const double m = 0x1p30;
  const auto y =
      value_of({{{1, 1, 2}, "BTD", {m - 3, m + 3}}, {{2}, "D", {1, 1}}, {{2}, "D", {0, 0}}},
               [](auto& in) { return layer_norm(in[0], in[1], in[2], 7.0); });
  BOOST_TEST(y == (std::vector<double>{-0.75, 0.75}), tt::per_element());
}

// Phi(1) = 0.84134474606854293, so gelu(1) is that and gelu(-1) = -(1 - Phi(1)). The tanh form at
// 1: t = sqrt(2/pi) 1.044715 = 0.83356, tanh t = 0.68238, 0.84119.
BOOST_AUTO_TEST_CASE(gelu_and_its_tanh_form_are_two_functions) {
  const Value x{{1, 1, 3}, "BTD", {0, 1, -1}};
  const auto exact = value_of({x}, [](auto& in) { return gelu(in[0], Gelu::exact); });
  const double phi = 0.84134474606854293;
  BOOST_TEST(exact == (std::vector<double>{0, phi, phi - 1}), tt::tolerance(1e-15)
                                                                  << tt::per_element());
  const auto tanh = value_of({x}, [](auto& in) { return gelu(in[0], Gelu::tanh); });
  BOOST_TEST(tanh[0] == 0.0);
  BOOST_TEST(std::fabs(tanh[1] - 0.84119) < 5e-6);
  BOOST_TEST(std::fabs(tanh[2] - (0.84119 - 1)) < 5e-6);
}

// Both rows of the batch start at position 0; the table's last position is not read.
BOOST_AUTO_TEST_CASE(positions_count_from_0_in_every_row) {
  const auto y =
      value_of({{{2, 2, 1}, "BTD", {1, 2, 3, 4}}, {{3, 1}, "DD", {10, 20, std::nan("")}}},
               [](auto& in) { return add_positions(in[0], in[1]); });
  BOOST_TEST(y == (std::vector<double>{11, 22, 13, 24}), tt::per_element());
}

BOOST_AUTO_TEST_CASE(more_positions_than_learned_ones_are_refused) {
  Graph graph;
  const Node x = graph.input("x", {1, 3, 2}, "BTD"), w = graph.weight("w", {2, 2});
  BOOST_CHECK_EXCEPTION(add_positions(x, w), InputError, [](const InputError& e) {
    return std::string(e.what()) == "add_positions: expected at most 2 positions, got 3";
  });
}

// silu(0) = 0; silu(ln 3) = ln 3 / (1 + 1/3) = 3/4 ln 3, times 4 is 3 ln 3.
BOOST_AUTO_TEST_CASE(swiglu_gates_the_first_operand) {
  const auto y = value_of({{{1, 1, 2}, "BTD", {0, std::log(3.0)}}, {{1, 1, 2}, "BTD", {5, 4}}},
                          [](auto& in) { return swiglu(in[0], in[1]); });
  BOOST_TEST(y == (std::vector<double>{0, 3 * std::log(3.0)}), tt::tolerance(1e-15)
                                                                   << tt::per_element());
}

// T = 3, V = 2. Position 0 predicts label 1: log(e^0 + e^ln3) - ln 3 = ln 4 - ln 3. Position 1
// predicts label 0: logits equal, ln 2. The last position predicts nothing and its logits are huge.
BOOST_AUTO_TEST_CASE(cross_entropy_predicts_the_next_token) {
  const auto loss =
      value_of({{{1, 3, 2}, "BTD", {0, std::log(3.0), 5, 5, 1e9, -1e9}}, {{1, 3}, "BT", {1, 1, 0}}},
               [](auto& in) { return cross_entropy(in[0], in[1]); });
  BOOST_TEST(loss[0] == (std::log(4.0) - std::log(3.0) + std::log(2.0)) / 2, tt::tolerance(1e-15));
}

// The same with label 0 of position 1 ignored: the mean is over one prediction, not two.
BOOST_AUTO_TEST_CASE(cross_entropy_does_not_count_ignored_labels) {
  const auto loss = value_of(
      {{{1, 3, 2}, "BTD", {0, std::log(3.0), 5, 5, 1e9, -1e9}}, {{1, 3}, "BT", {1, 1, -100}}},
      [](auto& in) { return cross_entropy(in[0], in[1]); });
  BOOST_TEST(loss[0] == std::log(4.0) - std::log(3.0), tt::tolerance(1e-15));
}

// In place, the label of position 1 is its own: ln 4 - ln 3; position 0 is not asked, so its logits
// may be anything.
BOOST_AUTO_TEST_CASE(cross_entropy_in_place_predicts_its_own_label) {
  const auto loss =
      value_of({{{1, 2, 2}, "BTD", {7, -9, 0, std::log(3.0)}}, {{1, 2}, "BT", {-100, 1}}},
               [](auto& in) { return cross_entropy_in_place(in[0], in[1]); });
  BOOST_TEST(loss[0] == std::log(4.0) - std::log(3.0), tt::tolerance(1e-15));
}

BOOST_AUTO_TEST_CASE(cross_entropy_of_nothing_is_zero) {
  const auto loss = value_of({{{1, 2, 2}, "BTD", {1, 2, 3, 4}}, {{1, 2}, "BT", {1, -100}}},
                             [](auto& in) { return cross_entropy(in[0], in[1]); });
  BOOST_TEST(loss[0] == 0.0);
}

BOOST_AUTO_TEST_CASE(a_token_outside_the_vocabulary_is_refused) {
  for (const double token : {-1.0, 2.0, 0.5, std::nan("")}) {
    BOOST_CHECK_EXCEPTION(value_of({{{1, 2}, "BT", {0, token}}, {{2, 1}, "DD", {7, 8}}},
                                   [](auto& in) { return embedding(in[0], in[1]); }),
                          InputError, [](const InputError& e) {
                            return std::string(e.what()).find("at position 1: expected 0 .. 1") !=
                                   std::string::npos;
                          });
  }
}

BOOST_AUTO_TEST_CASE(a_label_outside_the_vocabulary_is_refused) {
  for (const double label : {-1.0, 2.0, 0.5, std::nan("")}) {
    BOOST_CHECK_EXCEPTION(value_of({{{1, 2, 2}, "BTD", {1, 2, 3, 4}}, {{1, 2}, "BT", {0, label}}},
                                   [](auto& in) { return cross_entropy(in[0], in[1]); }),
                          InputError, [](const InputError& e) {
                            return std::string(e.what()).find("expected -100 or 0 .. 1") !=
                                   std::string::npos;
                          });
  }
}

// 1e16 + 1 - 1e16 is 0 from left to right and 1 in any other order.
BOOST_AUTO_TEST_CASE(sums_run_from_left_to_right) {
  const auto y = value_of({{{1}, "D", {1e16}}, {{1}, "D", {1}}, {{1}, "D", {-1e16}}},
                          [](auto& in) { return sum(in); });
  BOOST_TEST(y[0] == 0.0);
}

// 4^-0.5 = exp(-ln 4 / 2) = 1/2, and exp(0 ln 4 + ln 3) = 3.
BOOST_AUTO_TEST_CASE(powers_of_a_constant_are_exponentials) {
  const auto y =
      value_of({{{1}, "D", {0.5}}}, [](auto& in) { return exponential(in[0], -std::log(4.0)); });
  BOOST_TEST(y == (std::vector<double>{0.5}), tt::tolerance(1e-15) << tt::per_element());
  const auto z = value_of({{{1}, "D", {0.0}}}, [](auto& in) {
    return exponential(in[0], std::log(4.0), std::log(3.0));
  });
  BOOST_TEST(z == (std::vector<double>{3}), tt::tolerance(1e-15) << tt::per_element());
}

BOOST_AUTO_TEST_CASE(reciprocals_keep_the_sign) {
  const auto y = value_of({{{2}, "D", {4, -0.5}}}, [](auto& in) { return reciprocal(in[0], 2.0); });
  BOOST_TEST(y == (std::vector<double>{0.5, -4}), tt::per_element());
}

// softmax(0, ln 3) = (1/4, 3/4), of a parameter as of a row of scores.
BOOST_AUTO_TEST_CASE(softmax_of_a_parameter) {
  const auto w =
      value_of({{{2}, "D", {0, std::log(3.0)}}}, [](auto& in) { return softmax(in[0]); });
  BOOST_TEST(w == (std::vector<double>{0.25, 0.75}), tt::tolerance(1e-15) << tt::per_element());
}

// 1/4 * 8 + 3/4 * 16
BOOST_AUTO_TEST_CASE(a_learned_mean_weighs_its_terms) {
  const auto y =
      value_of({{{1}, "D", {8}}, {{1}, "D", {16}}, {{2}, "D", {0.25, 0.75}}}, [](auto& in) {
        return weighted_sum({in[0], in[1]}, in[2]);
      });
  BOOST_TEST(y == (std::vector<double>{14}), tt::per_element());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
