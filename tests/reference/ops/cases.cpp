#include "tests/reference/ops/cases.h"

#include <cmath>
#include <limits>

#include "reference/ops/add.h"
#include "reference/ops/attend.h"
#include "reference/ops/cross_entropy.h"
#include "reference/ops/detach.h"
#include "reference/ops/distance.h"
#include "reference/ops/embedding.h"
#include "reference/ops/exponential.h"
#include "reference/ops/gelu.h"
#include "reference/ops/layer_norm.h"
#include "reference/ops/linear.h"
#include "reference/ops/mask.h"
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
#include "reference/ops/times.h"
#include "reference/ops/weighted_sum.h"

namespace assay::reference::testing {
namespace {

using Nodes = std::vector<Node>;
using Index = std::vector<int64_t>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kVocab = 7;
constexpr int64_t kAllowed = 44;  // (b=1, h=0, t=3, s=0) of [2,2,4,4]: both words are real
constexpr double kFactor = 0.3, kEps = 1e-5, kTheta = 100.0;

double token(double u) { return std::floor((u + 1) / 2 * kVocab); }
double label(double u) { return u < -0.7 ? -100 : token(u); }
double real_or_padding(double u) { return u < -0.4 ? 0 : 1; }
double probability(double u) { return (u + 1) / 2; }
// Between 1 and 2 in size, of either sign.
double away_from_zero(double u) { return std::copysign(1 + std::fabs(u), u); }
// One score in eight belongs to a padded key.
double score(double u) { return u < -0.75 ? -kInfinity : 2 * u; }

// Cells are [B,H,T,S].
Relation::Cell no_future(const Index& i) {
  return i[3] > i[2] ? Relation::Cell::zero : Relation::Cell::variable;
}
// Two allowed keys in the first row: the softmax of a single one is constant.
Relation::Cell future_excluded(const Index& i) {
  return i[3] > i[2] + 1 ? Relation::Cell::excluded : Relation::Cell::variable;
}

std::vector<OpCase> make_cases() {
  const OperandCase x{.shape = {2, 3, 5}, .axes = "BTD"};
  const OperandCase q{.shape = {2, 4, 3, 6}, .axes = "BHTD"};
  const OperandCase k{.shape = {2, 2, 3, 6}, .axes = "BGTD"};
  const OperandCase scores{.shape = {2, 2, 4, 4}, .axes = "BHTS"};
  const OperandCase tokens{.kind = Kind::whole, .shape = {2, 4}, .axes = "BT", .element = token};
  const golden::RopeScaling slow{.factor = 8,
                                 .low_freq_factor = 1,
                                 .high_freq_factor = 4,
                                 .original_max_position_embeddings = 64};
  const OperandCase probs{
      .shape = {2, 4, 3, 3}, .axes = "BHTS", .element = probability, .cell = no_future};
  const OperandCase masked{
      .shape = {2, 2, 3, 5}, .axes = "BHTS", .element = score, .cell = future_excluded};
  const OperandCase grouped{.shape = {2, 12, 4, 4}, .axes = "BHTS", .cell = no_future};
  const DistanceGroups near_or_far{.starts = {2}, .both_sides = true};
  const auto parameter = [](Shape shape) {
    const std::string axes(shape.size(), 'D');
    return OperandCase{.kind = Kind::parameter, .shape = std::move(shape), .axes = axes};
  };
  const auto whole = [&](double (*element)(double)) {
    OperandCase operand = tokens;
    operand.element = element;
    return operand;
  };

  std::vector<OpCase> cases;
  const auto add = [&](OpCase one) { cases.push_back(std::move(one)); };
  add({.file = "add",
       .what = "sum of three",
       .operands = {x, x, x},
       .build = [](const Nodes& in) { return sum(in); },
       .quadratic = true,
       .float_twin = float_add});
  add({.file = "add",
       .what = "sum of two with zero cells",
       .operands = {probs, probs},
       .build = [](const Nodes& in) { return in[0] + in[1]; },
       .quadratic = true,
       .float_twin = float_add});
  add({.file = "attend",
       .what = "attend",
       .operands = {probs, k},
       .build = [](const Nodes& in) { return attend(in[0], in[1]); },
       .quadratic = true,
       .float_twin = float_attend});
  add({.file = "attend",
       .what = "attend_back",
       .operands = {probs, {.shape = {2, 4, 3, 6}, .axes = "BHTD"}},
       .build = [](const Nodes& in) { return attend_back(in[0], in[1]); },
       .quadratic = true,
       .float_twin = float_attend_back});
  add({.file = "query_bias",
       .what = "query_bias",
       .operands = {scores, parameter({5})},
       .build = [](const Nodes& in) { return query_bias(in[0], in[1]); },
       .quadratic = true,
       .float_twin = float_query_bias,
       .leading_part = true});
  add({.file = "detach",
       .what = "detach",
       .operands = {probs},
       .build = [](const Nodes& in) { return detach(in[0]); },
       .moves_only = true,
       .constant = true});
  add({.file = "exponential",
       .what = "exponential",
       .operands = {x},
       .build = [](const Nodes& in) { return exponential(in[0], kFactor, 0.7); },
       .float_twin = float_exponential(kFactor, 0.7)});
  add({.file = "reciprocal",
       .what = "reciprocal",
       .operands = {{.shape = {2, 3, 5}, .axes = "BTD", .element = away_from_zero}},
       .build = [](const Nodes& in) { return reciprocal(in[0], 3.0); },
       .float_twin = float_reciprocal(3.0)});
  add({.file = "times",
       .what = "times",
       .operands = {x, x},
       .build = [](const Nodes& in) { return times(in[0], in[1]); },
       .quadratic = true,
       .float_twin = float_times});
  const auto weighted = [&](const char* what, OperandCase factors, Factor which) {
    add({.file = "weighted_sum",
         .what = what,
         .operands = {scores, scores, scores, std::move(factors)},
         .build =
             [which](const Nodes& in) {
               return weighted_sum({in[0], in[1], in[2]}, in[3], which);
             },
         .quadratic = true});
  };
  weighted("weighted_sum, a factor per element", parameter({3, 5, 5}), Factor::element);
  weighted("weighted_sum, a factor per key", parameter({3, 5}), Factor::key);
  weighted("weighted_sum, a factor per query", parameter({3, 5}), Factor::query);
  const OperandCase features{.shape = {2, 4, 3}, .axes = "BTD"};
  weighted("weighted_sum, features of keys", features, Factor::key_feature);
  weighted("weighted_sum, features of queries", features, Factor::query_feature);
  add({.file = "weighted_sum",
       .what = "weighted_sum",
       .operands = {x, x, parameter({2})},
       .build =
           [](const Nodes& in) {
             return weighted_sum({in[0], in[1]}, in[2]);
           },
       .quadratic = true,
       .float_twin = float_weighted_sum});
  add({.file = "cross_entropy",
       .what = "cross_entropy_in_place",
       .operands = {{.shape = {2, 4, kVocab}, .axes = "BTD"}, whole(label)},
       .build = [](const Nodes& in) { return cross_entropy_in_place(in[0], in[1]); }});
  add({.file = "cross_entropy",
       .what = "cross_entropy",
       .operands = {{.shape = {2, 4, kVocab}, .axes = "BTD"}, whole(label)},
       .build = [](const Nodes& in) { return cross_entropy(in[0], in[1]); },
       .float_twin = float_cross_entropy});
  add({.file = "distance",
       .what = "pick_by_distance",
       .operands = {grouped},
       .build = [near_or_far](const Nodes& in) { return pick_by_distance(in[0], near_or_far); },
       .quadratic = true,
       .moves_only = true});
  add({.file = "distance",
       .what = "pick_by_distance, one side",
       .operands = {grouped},
       .build =
           [](const Nodes& in) {
             return pick_by_distance(in[0], {{2, 3}, false});
           },
       .quadratic = true,
       .moves_only = true});
  add({.file = "distance",
       .what = "spread_by_distance",
       .operands = {probs},
       .build = [near_or_far](const Nodes& in) { return spread_by_distance(in[0], near_or_far); },
       .quadratic = true,
       .moves_only = true});
  add({.file = "embedding",
       .what = "embedding",
       .operands = {tokens, parameter({kVocab, 5})},
       .build = [](const Nodes& in) { return embedding(in[0], in[1]); },
       .quadratic = true,
       .moves_only = true});
  add({.file = "gelu",
       .what = "gelu",
       .operands = {x},
       .build = [](const Nodes& in) { return gelu(in[0], Gelu::exact); },
       .float_twin = float_gelu(Gelu::exact)});
  add({.file = "gelu",
       .what = "gelu, tanh form",
       .operands = {x},
       .build = [](const Nodes& in) { return gelu(in[0], Gelu::tanh); },
       .float_twin = float_gelu(Gelu::tanh)});
  add({.file = "layer_norm",
       .what = "layer_norm",
       .operands = {x, parameter({5}), parameter({5})},
       .build = [](const Nodes& in) { return layer_norm(in[0], in[1], in[2], kEps); },
       .float_twin = float_layer_norm(kEps)});
  add({.file = "linear",
       .what = "linear",
       .operands = {x, parameter({7, 5})},
       .build = [](const Nodes& in) { return linear(in[0], in[1]); },
       .quadratic = true,
       .float_twin = float_linear});
  add({.file = "linear",
       .what = "linear_back",
       .operands = {x, parameter({5, 7})},
       .build = [](const Nodes& in) { return linear_back(in[0], in[1]); },
       .quadratic = true,
       .float_twin = float_linear_back});
  add({.file = "linear",
       .what = "linear with a bias",
       .operands = {x, parameter({7, 5}), parameter({7})},
       .build = [](const Nodes& in) { return linear(in[0], in[1], in[2], WeightLayout::out_in); },
       .quadratic = true,
       .float_twin = float_linear_with_bias(WeightLayout::out_in, {0, 7})});
  add({.file = "linear",
       .what = "linear with a bias, some rows of a state dict's weight",
       .operands = {x, parameter({7, 5}), parameter({7})},
       .build =
           [](const Nodes& in) {
             return linear(in[0], in[1], in[2], WeightLayout::out_in, Columns{1, 4});
           },
       .quadratic = true,
       .float_twin = float_linear_with_bias(WeightLayout::out_in, {1, 4})});
  add({.file = "linear",
       .what = "linear with a bias, some columns of a Conv1D weight",
       .operands = {x, parameter({5, 7}), parameter({7})},
       .build =
           [](const Nodes& in) {
             return linear(in[0], in[1], in[2], WeightLayout::in_out, Columns{2, 3});
           },
       .quadratic = true,
       .float_twin = float_linear_with_bias(WeightLayout::in_out, {2, 3})});
  add({.file = "mask",
       .what = "head_mask, any word",
       .operands = {scores, whole(real_or_padding)},
       .build = [](const Nodes& in) { return head_mask(in[0], in[1], Heads::any_word); },
       .quadratic = true,
       .moves_only = true,
       .used = kAllowed});
  add({.file = "mask",
       .what = "head_mask, earlier word",
       .operands = {scores, whole(real_or_padding)},
       .build = [](const Nodes& in) { return head_mask(in[0], in[1], Heads::earlier_word); },
       .quadratic = true,
       .moves_only = true,
       .used = kAllowed});
  add({.file = "mask",
       .what = "head_mask, two words on either side",
       .operands = {scores, whole(real_or_padding)},
       .build = [](const Nodes& in) { return head_mask(in[0], in[1], Heads::any_word, 2); },
       .quadratic = true,
       .moves_only = true,
       .used = kAllowed + 1});  // two words apart
  add({.file = "mask",
       .what = "even_head_scores, one word on either side",
       .operands = {whole(real_or_padding)},
       .build = [](const Nodes& in) { return even_head_scores(in[0], 2, Heads::any_word, 1); },
       .quadratic = true,
       .moves_only = true});
  add({.file = "mask",
       .what = "even_head_scores",
       .operands = {whole(real_or_padding)},
       .build = [](const Nodes& in) { return even_head_scores(in[0], 2, Heads::any_word); },
       .quadratic = true,
       .moves_only = true});
  add({.file = "mask",
       .what = "causal_mask",
       .operands = {scores, whole(real_or_padding)},
       .build = [](const Nodes& in) { return causal_mask(in[0], in[1]); },
       .quadratic = true,
       .moves_only = true});
  add({.file = "mask",
       .what = "causal_mask, window 2",
       .operands = {scores, whole(real_or_padding)},
       .build = [](const Nodes& in) { return causal_mask(in[0], in[1], {.window = 2}); },
       .quadratic = true,
       .moves_only = true});
  add({.file = "mask",
       .what = "causal_mask, window 1, one sink",
       .operands = {scores, whole(real_or_padding)},
       .build =
           [](const Nodes& in) { return causal_mask(in[0], in[1], {.window = 1, .sinks = 1}); },
       .quadratic = true,
       .moves_only = true,
       .used = kAllowed});
  add({.file = "positions",
       .what = "add_positions",
       .operands = {x, parameter({4, 5})},
       .build = [](const Nodes& in) { return add_positions(in[0], in[1]); },
       .quadratic = true,
       .float_twin = float_add_positions});
  add({.file = "rms_norm",
       .what = "rms_norm",
       .operands = {x, parameter({5})},
       .build = [](const Nodes& in) { return rms_norm(in[0], in[1], kEps); },
       .float_twin = float_rms_norm(kEps)});
  add({.file = "rms_norm",
       .what = "rms_norm of heads",
       .operands = {k, parameter({6})},
       .build = [](const Nodes& in) { return rms_norm(in[0], in[1], kEps); },
       .float_twin = float_rms_norm(kEps)});
  add({.file = "rope",
       .what = "rope",
       .operands = {q},
       .build = [](const Nodes& in) { return rope(in[0], kTheta, std::nullopt); },
       .quadratic = true,
       .float_twin = float_rope(kTheta)});
  add({.file = "rope",
       .what = "rope of keys, scaled frequencies",
       .operands = {k},
       .build = [slow](const Nodes& in) { return rope(in[0], 10000, slow); },
       .quadratic = true});
  add({.file = "scale",
       .what = "scale",
       .operands = {scores},
       .build = [](const Nodes& in) { return scale(in[0], kFactor); },
       .quadratic = true,
       .float_twin = float_scale(kFactor)});
  add({.file = "scores",
       .what = "attention_scores",
       .operands = {q, k},
       .build = [](const Nodes& in) { return attention_scores(in[0], in[1]); },
       .quadratic = true,
       .float_twin = float_scores});
  add({.file = "softmax",
       .what = "softmax",
       .operands = {masked},
       .build = [](const Nodes& in) { return softmax(in[0]); },
       .float_twin = float_softmax});
  add({.file = "softmax",
       .what = "softmax of a parameter",
       .operands = {parameter({5})},
       .build = [](const Nodes& in) { return softmax(in[0]); }});
  add({.file = "softmax",
       .what = "softmax of features",
       .operands = {x},
       .build = [](const Nodes& in) { return softmax(in[0]); },
       .float_twin = float_softmax});
  add({.file = "split_heads",
       .what = "split_heads",
       .operands = {{.shape = {2, 3, 12}, .axes = "BTD"}},
       .build = [](const Nodes& in) { return split_heads(in[0], 4, 'H'); },
       .quadratic = true,
       .moves_only = true});
  add({.file = "swiglu",
       .what = "swiglu",
       .operands = {x, x},
       .build = [](const Nodes& in) { return swiglu(in[0], in[1]); },
       .float_twin = float_swiglu});
  for (OpCase& one : window_cases()) add(std::move(one));
  return cases;
}

}  // namespace

const std::vector<OpCase>& op_cases() {
  static const std::vector<OpCase> cases = make_cases();
  return cases;
}

}  // namespace assay::reference::testing
