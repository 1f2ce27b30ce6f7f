// Numbers that a reader can check with a pencil, one for each operation that computes something.
#include <fmt/format.h>

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "golden/error.h"
#include "reference/ops/add.h"
#include "reference/ops/attend.h"
#include "reference/ops/cross_entropy.h"
#include "reference/ops/distance.h"
#include "reference/ops/embedding.h"
#include "reference/ops/exponential.h"
#include "reference/ops/gelu.h"
#include "reference/ops/layer_norm.h"
#include "reference/ops/linear.h"
#include "reference/ops/mask.h"
#include "reference/ops/op.h"
#include "reference/ops/positions.h"
#include "reference/ops/query_bias.h"
#include "reference/ops/reciprocal.h"
#include "reference/ops/rms_norm.h"
#include "reference/ops/rope.h"
#include "reference/ops/scale.h"
#include "reference/ops/scores.h"
#include "reference/ops/softmax.h"
#include "reference/ops/split_heads.h"
#include "reference/ops/swiglu.h"
#include "reference/ops/weighted_sum.h"

namespace tt = boost::test_tools;

namespace assay::reference {
namespace {

constexpr double kMinusInfinity = -INFINITY;

struct Value {
  Shape shape;
  std::string axes;
  std::vector<double> values;
};

// The value of the node that `build` makes of inputs with these values.
template <class Build>
std::vector<double> value_of(const std::vector<Value>& operands, Build&& build) {
  Graph graph;
  std::vector<Node> nodes;
  std::vector<Array> arrays;
  for (const Value& operand : operands) {
    nodes.push_back(graph.input(fmt::format("x{}", nodes.size()), operand.shape, operand.axes));
    arrays.push_back(Array::copy_of(operand.shape, operand.values));
  }
  const Node node = build(nodes);
  Array out = Array::uninitialized(node.shape());
  node.data().op->value(arrays, out);
  return {out.values().begin(), out.values().end()};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(hand_worked)

// exp(0), exp(ln 3) = 1, 3 of 4; the third key is not allowed and takes no part.
BOOST_AUTO_TEST_CASE(softmax_of_a_masked_row) {
  const auto p = value_of({{{1, 1, 1, 3}, "BHTS", {0.0, std::log(3.0), kMinusInfinity}}},
                          [](auto& in) { return softmax(in[0]); });
  BOOST_TEST(p == (std::vector<double>{0.25, 0.75, 0.0}), tt::tolerance(1e-15)
                                                              << tt::per_element());
}

// A second softmax of (0.9, 0.1), which no method does: e^0.8 / (e^0.8 + 1) = 0.6900.
BOOST_AUTO_TEST_CASE(a_second_softmax_flattens_a_row) {
  const auto p =
      value_of({{{1, 1, 1, 2}, "BHTS", {0.9, 0.1}}}, [](auto& in) { return softmax(in[0]); });
  BOOST_TEST(std::fabs(p[0] - 0.6900) < 5e-5);
}

// A word is not its own head, the third word is padding: it has no head and is none.
BOOST_AUTO_TEST_CASE(a_head_is_another_real_word) {
  const auto x = kMinusInfinity;
  const auto heads = [](Heads rule) {
    return [rule](auto& in) { return head_mask(in[0], in[1], rule); };
  };
  const std::vector<Value> operands{{{1, 1, 3, 3}, "BHTS", {1, 2, 3, 4, 5, 6, 7, 8, 9}},
                                    {{1, 3}, "BT", {1, 1, 0}}};
  BOOST_TEST(value_of(operands, heads(Heads::any_word)) ==
                 (std::vector<double>{x, 2, x, 4, x, x, x, x, x}),
             tt::per_element());
  BOOST_TEST(value_of(operands, heads(Heads::earlier_word)) ==
                 (std::vector<double>{x, x, x, 4, x, x, x, x, x}),
             tt::per_element());
}

// P = [[1, 2], [3, 4]], q = (10, 100): the columns give 1*10 + 3*100 and 2*10 + 4*100.
BOOST_AUTO_TEST_CASE(attending_backwards_reads_columns) {
  const auto y = value_of({{{1, 1, 2, 2}, "BHTS", {1, 2, 3, 4}}, {{1, 1, 2, 1}, "BHTD", {10, 100}}},
                          [](auto& in) { return attend_back(in[0], in[1]); });
  BOOST_TEST(y == (std::vector<double>{310, 420}), tt::per_element());
}

// One group a side, keys before the query from head 0, keys behind it from head 1; what a pair does
// not belong to is 0 when it is spread again.
BOOST_AUTO_TEST_CASE(a_pair_belongs_to_the_group_of_its_side) {
  const DistanceGroups sides{.starts = {}, .both_sides = true};
  const auto picked = value_of({{{1, 2, 2, 2}, "BHTS", {1, 2, 3, 4, 5, 6, 7, 8}}},
                               [&](auto& in) { return pick_by_distance(in[0], sides); });
  BOOST_TEST(picked == (std::vector<double>{1, 6, 3, 4}), tt::per_element());
  const auto spread = value_of({{{1, 1, 2, 2}, "BHTS", {1, 6, 3, 4}}},
                               [&](auto& in) { return spread_by_distance(in[0], sides); });
  BOOST_TEST(spread == (std::vector<double>{1, 0, 3, 4, 0, 6, 0, 0}), tt::per_element());
}

// {2, 4}: distance 1, distances 2 and 3, distances 4 and more.
BOOST_AUTO_TEST_CASE(a_group_starts_at_its_distance) {
  const DistanceGroups groups{.starts = {2, 4}, .both_sides = true};
  BOOST_TEST(groups.count() == 6);
  for (const auto& [s, group] : std::vector<std::pair<int64_t, int64_t>>{
           {9, 0}, {8, 1}, {7, 1}, {6, 2}, {0, 2}, {11, 3}, {12, 4}, {13, 4}, {14, 5}}) {
    BOOST_TEST(groups.of(10, s) == group, s);
  }
}

// exp(1000) is infinite: only the difference to the maximum may be exponentiated.
BOOST_AUTO_TEST_CASE(softmax_of_large_scores_is_finite) {
  const auto p =
      value_of({{{1, 1, 1, 2}, "BHTS", {1000.0, 1000.0}}}, [](auto& in) { return softmax(in[0]); });
  BOOST_TEST(p == (std::vector<double>{0.5, 0.5}), tt::per_element());
}

BOOST_AUTO_TEST_CASE(softmax_of_a_row_without_allowed_keys_is_zero) {
  const auto p = value_of({{{1, 1, 1, 2}, "BHTS", {kMinusInfinity, kMinusInfinity}}},
                          [](auto& in) { return softmax(in[0]); });
  BOOST_TEST(p == (std::vector<double>{0.0, 0.0}), tt::per_element());
}

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

// Stored probabilities (0.9, 0.1) on values 10 and 20 give 0.9*10 + 0.1*20 = 11, as they are; a
// second softmax would give 13.1. The first row sees only itself.
BOOST_AUTO_TEST_CASE(recompute_uses_stored_probabilities_as_they_are) {
  const auto context =
      value_of({{{1, 1, 2, 2}, "BHTS", {1, 0, 0.9, 0.1}}, {{1, 1, 2, 1}, "BGTD", {10, 20}}},
               [](auto& in) { return attend(in[0], in[1]); });
  BOOST_TEST(context == (std::vector<double>{10, 11}), tt::tolerance(1e-15) << tt::per_element());
}

// H = 4, Hkv = 2: query heads 0 and 1 read key head 0, 2 and 3 read 1 (repeated in place, not
// 0 1 0 1).
BOOST_AUTO_TEST_CASE(query_heads_read_neighbouring_key_heads) {
  const auto s = value_of({{{1, 4, 1, 1}, "BHTD", {1, 2, 3, 4}}, {{1, 2, 1, 1}, "BGTD", {10, 100}}},
                          [](auto& in) { return attention_scores(in[0], in[1]); });
  BOOST_TEST(s == (std::vector<double>{10, 20, 300, 400}), tt::per_element());
}

// s <= t, and key 1 is padding; the value under the mask does not matter.
BOOST_AUTO_TEST_CASE(mask_selects_past_keys_that_are_not_padding) {
  const auto y =
      value_of({{{1, 1, 3, 3}, "BHTS", {1, 2, 3, 4, 5, 6, 7, 8, 9}}, {{1, 3}, "BT", {1, 0, 1}}},
               [](auto& in) { return causal_mask(in[0], in[1]); });
  const double no = kMinusInfinity;
  BOOST_TEST(y == (std::vector<double>{1, no, no, 4, no, no, 7, no, 9}), tt::per_element());
}

// Half rotation with Dh = 4, theta = 100: frequencies 1 and 1/10. At t = 1 the pairs are (x0, x2)
// by 1 rad and (x1, x3) by 0.1 rad; the interleaved layout would turn (x0, x1).
BOOST_AUTO_TEST_CASE(rope_turns_the_halves_of_a_head) {
  const auto y = value_of({{{1, 1, 2, 4}, "BHTD", {1, 2, 3, 4, 1, 0, 0, 1}}},
                          [](auto& in) { return rope(in[0], 100.0, std::nullopt); });
  const std::vector<double> expected{
      1, 2, 3, 4, std::cos(1.0), -std::sin(0.1), std::sin(1.0), std::cos(0.1)};
  BOOST_TEST(y == expected, tt::tolerance(1e-15) << tt::per_element());
}

// theta = 2^16, Dh = 8: frequencies 1, 2^-4, 2^-8, 2^-12; original context 512 pi, so the turns in
// it are 256, 16, 1, 1/16. low = 2, high = 30: kept, (16-2)/28 = 1/2 way, slowed 8 times, slowed 8
// times.
BOOST_AUTO_TEST_CASE(rope_scaling_keeps_fast_and_slows_low_frequencies) {
  const golden::RopeScaling scaling{.factor = 8,
                                    .low_freq_factor = 2,
                                    .high_freq_factor = 30,
                                    .original_max_position_embeddings = 1608};  // 512 pi = 1608.5
  const auto f = rope_frequencies(8, 65536, scaling);
  const double turns = 1608 * 0.0625 / (2 * M_PI), keep = (turns - 2) / 28;  // about 1/2
  const std::vector<double> expected{1.0, (1 - keep) * 0.0625 / 8 + keep * 0.0625, 0x1p-8 / 8,
                                     0x1p-12 / 8};
  BOOST_TEST(std::fabs(keep - 0.5) < 1e-3);
  BOOST_TEST(f == expected, tt::tolerance(1e-15) << tt::per_element());
}

// x [1,2,4] with n = 2: head 0 takes features 0, 1 of each position, head 1 features 2, 3.
BOOST_AUTO_TEST_CASE(heads_are_neighbouring_features) {
  const auto y = value_of({{{1, 2, 4}, "BTD", {0, 1, 2, 3, 10, 11, 12, 13}}},
                          [](auto& in) { return split_heads(in[0], 2, 'H'); });
  BOOST_TEST(y == (std::vector<double>{0, 1, 10, 11, 2, 3, 12, 13}), tt::per_element());
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

// One batch row, one head, T = 2, one term of ones; parameters for P = 3 positions, of which the
// third is not read. A factor is chosen by (t,s), by s, or by t.
BOOST_AUTO_TEST_CASE(factors_belong_to_an_element_a_key_or_a_query) {
  const Value ones{{1, 1, 2, 2}, "BHTS", {1, 1, 1, 1}};
  const auto with = [&](Value factors, Factor which) {
    return value_of({ones, factors},
                    [which](auto& in) { return weighted_sum({in[0]}, in[1], which); });
  };
  using Expected = std::vector<double>;
  const Value table{{1, 3, 3}, "DDD", {1, 2, 9, 3, 4, 9, 9, 9, 9}}, row{{3}, "D", {5, 6, 9}};
  const Value features{{1, 2, 1}, "BTD", {7, 8}};
  BOOST_TEST(with(table, Factor::element) == (Expected{1, 2, 3, 4}), tt::per_element());
  BOOST_TEST(with(row, Factor::key) == (Expected{5, 6, 5, 6}), tt::per_element());
  BOOST_TEST(with(row, Factor::query) == (Expected{5, 5, 6, 6}), tt::per_element());
  BOOST_TEST(with(features, Factor::key_feature) == (Expected{7, 8, 7, 8}), tt::per_element());
  BOOST_TEST(with(features, Factor::query_feature) == (Expected{7, 7, 8, 8}), tt::per_element());
}

BOOST_AUTO_TEST_CASE(a_query_bias_is_constant_along_a_row) {
  const auto y = value_of({{{1, 1, 2, 2}, "BHTS", {0, 0, 0, 1}}, {{3}, "D", {5, 6, 9}}},
                          [](auto& in) { return query_bias(in[0], in[1]); });
  BOOST_TEST(y == (std::vector<double>{5, 5, 6, 7}), tt::per_element());
}

BOOST_AUTO_TEST_CASE(scaling_keeps_excluded_scores_excluded) {
  const auto y = value_of({{{1, 1, 1, 2}, "BHTS", {3, kMinusInfinity}}},
                          [](auto& in) { return scale(in[0], 0.5); });
  BOOST_TEST(y == (std::vector<double>{1.5, kMinusInfinity}), tt::per_element());
}

// A factor that is not positive would turn -inf into +inf or NaN.
BOOST_AUTO_TEST_CASE(a_factor_that_is_not_positive_is_refused) {
  Graph graph;
  const Node x = graph.input("x", {1, 1, 1, 1}, "BHTS");
  BOOST_CHECK_THROW(scale(x, 0.0), InternalError);
  BOOST_CHECK_THROW(scale(x, -1.0), InternalError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference
