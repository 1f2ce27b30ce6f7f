// What must hold between runs of the Probabilistic Transformer: its options at their neutral
// values, its symmetries, and how it corresponds to the methods of the block.
#include <fmt/format.h>

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "golden/contract/names.h"
#include "reference/methods/registry.h"
#include "tests/reference/prob_transformer/variants.h"
#include "tests/reference/random.h"

namespace assay::reference::testing {
namespace {

constexpr uint64_t kSeed = 41;
using Numbers = std::vector<double>;

Tensors run(const PT& options, const Inputs& inputs) {
  const ModelConfig config = pt_config(options);
  return run_model(config, inputs, synthetic_weights(config, kSeed));
}

Inputs inputs_of(int64_t batch, int64_t positions, const std::vector<int64_t>& padding = {}) {
  return random_inputs(pt_config(), batch, positions, kSeed, padding);
}

// a x + b y
Numbers combined(double a, const Numbers& x, double b, const Numbers& y) {
  Numbers sum;
  for (std::size_t i = 0; i < x.size(); ++i) sum.push_back(a * x[i] + b * y[i]);
  return sum;
}

// The tensors of a run of `config` in which some are replaced on their way.
Tensors run_forced(const ModelConfig& config, const Inputs& inputs, const Tensors& weights,
                   const Tensors& forced) {
  Collector collector;
  collector.forced = forced;
  evaluate(*build_model(config, inputs.batch, inputs.positions), bind_model(inputs, weights),
           collector);
  return std::move(collector.tensors);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(identities)

// Round 1 starts from Qz = softmax(S) whatever the options are, so a partial step mixes that with
// what a full step gives.
BOOST_AUTO_TEST_CASE(a_label_step_mixes_the_labels_before_with_those_of_a_full_step) {
  const Inputs inputs = inputs_of(2, 5);
  const Tensors whole = run({.iterations = 1}, inputs);
  const Tensors part = run({.iterations = 1, .label_step = 0.25}, inputs);
  const Numbers expected =
      combined(0.75, whole.at("pt/0/labels").values, 0.25, whole.at("pt/1/labels").values);
  BOOST_TEST(relative_error(part.at("pt/1/labels").values, expected) <= 1e-15);
}

BOOST_AUTO_TEST_CASE(a_head_step_mixes_even_heads_with_those_of_a_full_step) {
  const Inputs inputs = inputs_of(2, 5);
  const Tensors whole = run({.iterations = 1}, inputs);
  const Tensors part = run({.iterations = 1, .head_step = 0.25}, inputs);
  const Numbers expected =
      combined(0.75, part.at("pt/0/heads").values, 0.25, whole.at("pt/1/heads").values);
  BOOST_TEST(relative_error(part.at("pt/1/heads").values, expected) <= 1e-15);
}

// Mz starts as S, so after one damped round it is S + (1 - damping) G; Mh starts as 0.
BOOST_AUTO_TEST_CASE(damping_keeps_a_part_of_the_message_before) {
  const Inputs inputs = inputs_of(2, 5);
  const Tensors whole = run({.iterations = 1}, inputs);
  const Tensors labels = run({.iterations = 1, .label_damping = 0.25}, inputs);
  const Numbers expected =
      combined(1, whole.at("embed").values, 0.75, whole.at("pt/1/message/sum").values);
  BOOST_TEST(relative_error(labels.at("pt/1/label_scores").values, expected) <= 1e-14);

  const Tensors heads = run({.iterations = 1, .head_damping = 0.25}, inputs);
  const Numbers& scores = whole.at("pt/1/scores").values;
  BOOST_TEST(relative_error(heads.at("pt/1/scores").values, combined(0.5, scores, 0.25, scores)) <=
             1e-14);
}

// One head group that takes every turn, and one distance group that holds every pair.
BOOST_AUTO_TEST_CASE(groups_of_one_change_nothing) {
  const Inputs inputs = inputs_of(2, 5, {0, 2});
  const Tensors plain = run({}, inputs);
  const Tensors turns = run({.updates = PT::Updates::in_turn}, inputs);
  BOOST_TEST(turns.size() == plain.size());
  for (const auto& [name, tensor] : plain) {
    BOOST_TEST(same_bits(turns.at(name).values, tensor.values), name);
  }
}

// With the same U, V in every distance group, distances play no part.
BOOST_AUTO_TEST_CASE(equal_factors_in_all_distance_groups_are_no_groups) {
  const Inputs inputs = inputs_of(2, 6, {0, 1});
  const ModelConfig plain = pt_config(), grouped = pt_config({.distances = {{2, 4}}});
  const Tensors weights = synthetic_weights(plain, kSeed);
  Tensors repeated = weights;
  for (const std::string which : {"u", "v"}) {
    Tensor& factor = repeated.at("model.groups.0." + which + ".weight");
    const Numbers once = factor.values;
    for (int k = 1; k < 6; ++k) {
      factor.values.insert(factor.values.end(), once.begin(), once.end());
    }
    factor.shape[0] *= 6;
  }
  const Tensors expected = run_model(plain, inputs, weights);
  const Tensors got = run_model(grouped, inputs, repeated);
  for (const char* name : {"pt/1/scores", "pt/3/message/sum", "logits", "loss"}) {
    BOOST_TEST(relative_error(got.at(name).values, expected.at(name).values) <= 1e-13, name);
  }
}

// A word alone has no head: it hears nothing and stays with its unary scores.
BOOST_AUTO_TEST_CASE(a_word_alone_hears_nothing) {
  const Tensors alone = run({}, inputs_of(1, 1));
  for (const double x : alone.at("pt/3/message/sum").values) BOOST_TEST(x == 0.0);
  for (const double x : alone.at("pt/3/heads").values) BOOST_TEST(x == 0.0);
  BOOST_TEST(same_bits(alone.at("pt/3/labels").values, alone.at("pt/0/labels").values));
}

// Padding speaks to nobody: the words of a padded row compute what they compute without it.
BOOST_AUTO_TEST_CASE(padding_changes_nothing) {
  constexpr int64_t kWords = 4, kPadding = 3;
  for (const auto& [title, config] : pt_all_variants()) {
    const Inputs padded = random_inputs(config, 1, kWords + kPadding, kSeed, {kPadding});
    Inputs bare{1, kWords, {}, {}, {}};
    bare.tokens.assign(padded.tokens.begin() + kPadding, padded.tokens.end());
    bare.attention_mask.assign(kWords, 1);
    bare.labels.assign(padded.labels.begin() + kPadding, padded.labels.end());
    const Tensors weights = synthetic_weights(config, kSeed);
    const Numbers with = run_model(config, padded, weights).at("logits").values;
    const Numbers without = run_model(config, bare, weights).at("logits").values;
    const Numbers words(with.begin() + kPadding * config.vocab_size, with.end());
    BOOST_TEST(relative_error(words, without) <= 1e-13, title);
  }
}

BOOST_AUTO_TEST_CASE(rows_of_a_batch_do_not_know_each_other) {
  for (const auto& [title, config] : pt_all_variants()) {
    const Inputs inputs = random_inputs(config, 3, 5, kSeed, {0, 2, 1});
    const Tensors weights = synthetic_weights(config, kSeed);
    const Tensors all = run_model(config, inputs, weights);
    const Tensors swapped = run_model(config, select(inputs, {2, 0}, 5), weights);
    for (const golden::TensorInfo& info : golden::tensor_list(config, 3, 5)) {
      if (info.name == "loss") continue;
      const Tensor rows = slice(all.at(info.name), info.axes, {2, 0}, 5);
      BOOST_TEST(same_bits(swapped.at(info.name).values, rows.values), title << " " << info.name);
    }
  }
}

// Without distances and order nothing says where a word stands: words in another order keep their
// labels.
BOOST_AUTO_TEST_CASE(words_in_another_order_keep_their_labels) {
  const Inputs inputs = inputs_of(1, 5);
  const std::vector<std::size_t> order{3, 0, 4, 2, 1};
  Inputs turned = inputs;
  for (std::size_t t = 0; t < 5; ++t) turned.tokens[t] = inputs.tokens[order[t]];
  const Tensor before = run({}, inputs).at("pt/3/labels");
  const Tensor after = run({}, turned).at("pt/3/labels");
  Numbers expected;
  for (const std::size_t t : order) {
    const auto first = before.values.begin() + static_cast<std::ptrdiff_t>(t) * before.shape[2];
    expected.insert(expected.end(), first, first + before.shape[2]);
  }
  BOOST_TEST(relative_error(after.values, expected) <= 1e-13);
}

// In turn, a group's heads are those of its own round and V_c is that of the latest labels: each
// group's message is the one of a model that has this group alone, these heads and these labels;
// the groups' messages add up. So methods 1 to 4 keep A_j and recompute V.
BOOST_AUTO_TEST_CASE(groups_in_turn_are_a_stack_of_single_groups_with_frozen_heads) {
  for (const auto kind : {PT::Message::head, PT::Message::full}) {
    const ModelConfig many =
        pt_config({.message = kind, .head_groups = 3, .updates = PT::Updates::in_turn});
    const ModelConfig one = pt_config({.iterations = 1, .message = kind});
    const Inputs inputs = inputs_of(2, 5, {0, 1});
    const Tensors weights = synthetic_weights(many, kSeed);
    const Tensors stack = run_model(many, inputs, weights);
    for (int n = 1; n <= 3; ++n) {
      const std::string round = "pt/" + std::to_string(n) + "/";
      Numbers sum(stack.at(round + "message/sum").values.size(), 0.0);
      for (int g = 0; g < n; ++g) {
        const std::string group = std::to_string(g), own = "pt/" + std::to_string(g + 1) + "/";
        Tensors single = weights;
        single["model.groups.0.u.weight"] = weights.at("model.groups." + group + ".u.weight");
        single["model.groups.0.v.weight"] = weights.at("model.groups." + group + ".v.weight");
        const Tensors alone =
            run_forced(one, inputs, single,
                       {{"pt/0/labels", stack.at(fmt::format("pt/{}/labels", n - 1))},
                        {"pt/1/heads", stack.at(fmt::format("{}heads/{}", own, group))}});
        BOOST_TEST(same_bits(alone.at("pt/1/message/sum").values,
                             stack.at(fmt::format("{}message/{}", round, group)).values));
        sum = combined(1, sum, 1, alone.at("pt/1/message/sum").values);
      }
      BOOST_TEST(same_bits(sum, stack.at(round + "message/sum").values));
    }
  }
}

// F of two label groups is sum_g Q_g K_g^T: method 5.1's scores of two layers with these queries
// and keys, but for the temperatures. Compared where both masks allow, s < t.
BOOST_AUTO_TEST_CASE(label_groups_add_scores_as_method_5_1_does) {
  const ModelConfig groups =
      pt_config({.message = PT::Message::head, .causal_heads = true, .label_groups = 2});
  const Inputs inputs = inputs_of(2, 5);
  const Tensors pt = run_model(groups, inputs, synthetic_weights(groups, kSeed));

  ModelConfig layers = ragged_config("5.1", 2);
  layers.num_attention_heads = layers.num_key_value_heads = groups.pt.channels;
  Tensors forced;
  for (const std::string l : {"0", "1"}) {
    forced["layers/" + l + "/attn/q"] = pt.at("pt/1/q/" + l);
    forced["layers/" + l + "/attn/k"] = pt.at("pt/1/k/" + l);
  }
  const Tensors cumulative = run_forced(layers, inputs, synthetic_weights(layers, kSeed), forced);
  const double to_pt = std::sqrt(double(layers.head_dim)) * double(groups.hidden_size);
  int64_t compared = 0;
  const Numbers& got = pt.at("pt/1/scores").values;
  const Numbers& sums = cumulative.at("layers/1/attn/scores").values;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!std::isfinite(got[i])) continue;
    ++compared;
    BOOST_TEST(std::fabs(got[i] - to_pt * sums[i]) <= 1e-13);
  }
  BOOST_TEST(compared == 2 * 3 * 10);  // rows, channels, pairs s < t of 5 words
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
