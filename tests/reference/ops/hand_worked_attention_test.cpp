// Numbers that a reader can check with a pencil: what attention is made of, from heads and angles
// to scores, masks and probabilities.
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "golden/contract/error.h"
#include "reference/ops/attend.h"
#include "reference/ops/distance.h"
#include "reference/ops/dynamic_mask.h"
#include "reference/ops/mask.h"
#include "reference/ops/query_bias.h"
#include "reference/ops/rope.h"
#include "reference/ops/scale.h"
#include "reference/ops/scores.h"
#include "reference/ops/softmax.h"
#include "reference/ops/split_heads.h"
#include "reference/ops/weighted_sum.h"
#include "tests/reference/ops/hand_worked.h"

namespace tt = boost::test_tools;

namespace assay::reference::testing {
namespace {

constexpr double kMinusInfinity = -INFINITY;

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

// Within one word on either side; without padding.
BOOST_AUTO_TEST_CASE(a_head_stands_within_its_reach) {
  const auto x = kMinusInfinity;
  const auto heads = [](Heads rule) {
    return [rule](auto& in) { return head_mask(in[0], in[1], rule, 1); };
  };
  const std::vector<Value> operands{{{1, 1, 3, 3}, "BHTS", {1, 2, 3, 4, 5, 6, 7, 8, 9}},
                                    {{1, 3}, "BT", {1, 1, 1}}};
  BOOST_TEST(value_of(operands, heads(Heads::any_word)) ==
                 (std::vector<double>{x, 2, x, 4, x, 6, x, 8, x}),
             tt::per_element());
  BOOST_TEST(value_of(operands, heads(Heads::earlier_word)) ==
                 (std::vector<double>{x, x, x, 4, x, x, x, 8, x}),
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

// Window 2: position t and the one before it. Key 2 is padding; with a sink key 0 stays.
BOOST_AUTO_TEST_CASE(a_window_selects_the_last_keys_and_the_sinks) {
  const std::vector<double> scores{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
  const auto masked = [&](const KeyWindow& keys) {
    return value_of({{{1, 1, 4, 4}, "BHTS", scores}, {{1, 4}, "BT", {1, 1, 0, 1}}},
                    [&](auto& in) { return causal_mask(in[0], in[1], keys); });
  };
  const double no = kMinusInfinity;
  BOOST_TEST(masked({.window = 2}) == (std::vector<double>{1, no, no, no, 5, 6, no, no,  //
                                                           no, 10, no, no, no, no, no, 16}),
             tt::per_element());
  BOOST_TEST(
      masked({.window = 2, .sinks = 1}) == (std::vector<double>{1, no, no, no, 5, 6, no, no,  //
                                                                9, 10, no, no, 13, no, no, 16}),
      tt::per_element());
}

// Mean size of the scores up to the query: 1; (2+4)/2; with a window of 2 (5+7)/2, with a sink
// (3+5+7)/3. Beside it the extremes of the positions before.
BOOST_AUTO_TEST_CASE(a_windows_strength_is_the_mean_size_of_its_scores) {
  const auto strengths = [](const WindowRange& range, const std::vector<double>& real) {
    return value_of({{{1, 1, 3, 3}, "BHTS", {-1, 9, 9, 2, -4, 9, 3, -5, 7}}, {{1, 3}, "BT", real}},
                    [&](auto& in) { return window_strengths(in[0], in[1], range); });
  };
  const double none = -kMinusInfinity;
  BOOST_TEST(
      strengths({1, 2, 0}, {1, 1, 1}) == (std::vector<double>{1, none, -none, 3, 1, 1, 6, 1, 3}),
      tt::per_element());
  BOOST_TEST(
      strengths({1, 2, 1}, {1, 1, 1}) == (std::vector<double>{1, none, -none, 3, 1, 1, 5, 1, 3}),
      tt::per_element());
  // Position 1 is padding: as a key of nobody, as a query in no extreme.
  BOOST_TEST(
      strengths({1, 2, 0}, {1, 0, 1}) == (std::vector<double>{1, none, -none, 2, 1, 1, 7, 1, 1}),
      tt::per_element());
}

// 1 to 5: half of 4 at first; 4/3 of a third of the way; the extremes themselves; beyond them.
BOOST_AUTO_TEST_CASE(a_windows_size_follows_its_strength_among_those_before) {
  const double none = -kMinusInfinity;
  const std::vector<double> strengths{7, none, -none, 2, 1, 4, 1, 1, 4, 4, 1,
                                      4, 0.5,  1,     4, 9, 1, 4, 3, 3, 3};
  const auto sizes = value_of({{{1, 7, 3}, "BTD", strengths}}, [](auto& in) {
    return window_sizes(in[0], {1, 5, 0});
  });
  BOOST_TEST(sizes == (std::vector<double>{3, 2, 1, 5, 1, 5, 3}), tt::per_element());
}

// Windows of 1, 2, 1 and 3 positions; key 2 is padding, key 0 a sink.
BOOST_AUTO_TEST_CASE(every_query_sees_its_own_window) {
  const std::vector<double> scores{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
  const auto masked = [&](int64_t sinks) {
    return value_of({{{1, 1, 4, 4}, "BHTS", scores},
                     {{1, 4}, "BT", {1, 1, 0, 1}},
                     {{1, 4}, "BT", {1, 2, 1, 3}}},
                    [&](auto& in) {
                      return causal_mask(in[0], in[1], in[2], {1, 3, sinks});
                    });
  };
  const double no = kMinusInfinity;
  BOOST_TEST(masked(0) == (std::vector<double>{1, no, no, no, 5, 6, no, no,  //
                                               no, no, no, no, no, 14, no, 16}),
             tt::per_element());
  BOOST_TEST(masked(1) == (std::vector<double>{1, no, no, no, 5, 6, no, no,  //
                                               9, no, no, no, 13, 14, no, 16}),
             tt::per_element());
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

// One batch row, one head, T = 2, one term of ones; parameters for P = 3 positions, of which the
// third is not read. A factor is chosen by (t,s), by s, or by t.
BOOST_AUTO_TEST_CASE(factors_belong_to_an_element_a_key_or_a_query) {
  const Value ones{{1, 1, 2, 2}, "BHTS", {1, 1, 1, 1}};
  const auto with = [&](const Value& factors, Factor which) {
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

}  // namespace assay::reference::testing
