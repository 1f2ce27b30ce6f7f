// Identities between models. Where bits are compared, the two sides compute the same numbers in the
// same order, so anything else is a fault and not rounding.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <span>

#include "golden/contract/methods.h"
#include "golden/contract/names.h"
#include "reference/graph/op.h"
#include "reference/ops/rope.h"
#include "reference/ops/scores.h"
#include "tests/reference/models.h"
#include "tests/reference/random.h"

namespace assay::reference::testing {
namespace {

constexpr uint64_t kSeed = 61;
constexpr int64_t kBatch = 2, kPositions = 6;

Tensors run_seeded(const ModelConfig& config) {
  return run_model(config, random_inputs(config, kBatch, kPositions, kSeed, {0, 2}),
                   synthetic_weights(config, kSeed));
}

using Values = std::vector<double>;

// Runs of head_size numbers, each repeated `times` in place.
void append_repeated(Values& to, std::span<const double> from, int64_t head_size, int64_t times) {
  for (auto head = from.begin(); head != from.end(); head += head_size) {
    for (int64_t copy = 0; copy < times; ++copy) to.insert(to.end(), head, head + head_size);
  }
}

// The weights of a model with a key/value head of its own for each query head, all heads of a group
// equal: rows of k_proj and v_proj [Hkv*Dh,D] and their biases; in c_attn the columns behind the
// H*Dh of Wq.
void repeat_heads(const ModelConfig& c, Tensors& weights) {
  const int64_t times = c.num_attention_heads / c.num_key_value_heads;
  for (auto& [name, weight] : weights) {
    Values repeated;
    if (name.find("c_attn") != std::string::npos) {
      const int64_t query = c.num_attention_heads * c.head_dim, columns = weight.shape.back();
      for (std::span<const double> rest = weight.values; !rest.empty();
           rest = rest.subspan(static_cast<std::size_t>(columns))) {
        repeated.insert(repeated.end(), rest.begin(), rest.begin() + query);
        append_repeated(repeated, {rest.begin() + query, rest.begin() + columns}, c.head_dim,
                        times);
      }
      weight.shape.back() = 3 * query;
    } else if (name.find("k_proj") != std::string::npos ||
               name.find("v_proj") != std::string::npos) {
      const int64_t inputs = weight.shape.size() == 2 ? weight.shape[1] : 1;  // of a bias
      append_repeated(repeated, weight.values, c.head_dim * inputs, times);
      weight.shape[0] *= times;
    } else {
      continue;
    }
    weight.values = std::move(repeated);
  }
}

// With weights at which the method's own parameters say nothing.
Tensors run_transparent(const ModelConfig& config) {
  return run_model(config, random_inputs(config, kBatch, kPositions, kSeed, {0, 2}),
                   transparent_weights(config, kSeed));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(identities)

// No earlier layer, nothing to add or accumulate.
BOOST_AUTO_TEST_CASE(one_layer_of_any_method_is_plain) {
  for (const ModelConfig& config : every_method(1)) {
    const Tensors got = run_transparent(config), plain = run_seeded(without_method(config));
    BOOST_TEST(got.size() == plain.size());
    for (const auto& [name, tensor] : plain) {
      BOOST_TEST(same_bits(got.at(name).values, tensor.values), title(config) << ": " << name);
    }
  }
}

BOOST_AUTO_TEST_CASE(layer_0_of_any_method_is_plain) {
  int compared = 0;
  for (const ModelConfig& config : every_method(3)) {
    const Tensors got = run_transparent(config), plain = run_seeded(without_method(config));
    for (const auto& [name, tensor] : plain) {
      if (!name.starts_with("layers/0/") && name != "layers/1/input") continue;
      ++compared;
      BOOST_TEST(same_bits(got.at(name).values, tensor.values), title(config) << ": " << name);
    }
  }
  BOOST_TEST(compared > 0);
}

// Nothing lies outside a window as long as the sequence, and everything inside as many sinks.
BOOST_AUTO_TEST_CASE(a_window_that_hides_nothing_changes_no_bit) {
  for (const ModelConfig& config : every_method()) {
    ModelConfig wide = config, sinks = config;
    wide.window = kPositions;
    sinks.window = 1;
    sinks.sink_tokens = kPositions;
    const Tensors expected = run_seeded(config), windowed = run_seeded(wide);
    const Tensors with_sinks = run_seeded(sinks);
    for (const auto& [name, tensor] : expected) {
      BOOST_TEST(same_bits(windowed.at(name).values, tensor.values), title(config) << ": " << name);
      BOOST_TEST(same_bits(with_sinks.at(name).values, tensor.values), title(config)
                                                                           << ": " << name);
    }
  }
}

// In a window of 1 every real position attends to itself alone, and a padded one to nothing.
BOOST_AUTO_TEST_CASE(a_window_of_one_gives_each_position_its_own_value) {
  ModelConfig config = ragged_config("plain");
  config.window = 1;
  const Inputs inputs = random_inputs(config, kBatch, kPositions, kSeed, {0, 2});
  const Tensors got = run_model(config, inputs, synthetic_weights(config, kSeed));
  const int64_t H = config.num_attention_heads, group = H / config.num_key_value_heads;
  const int64_t Dh = config.head_dim, T = kPositions;
  for (int64_t i = 0; i < kBatch * T * H * Dh; ++i) {
    const int64_t d = i % Dh, h = i / Dh % H, t = i / Dh / H % T, b = i / Dh / H / T;
    const auto real = inputs.attention_mask[static_cast<std::size_t>(b * T + t)];
    const int64_t own = ((b * config.num_key_value_heads + h / group) * T + t) * Dh + d;
    const double value = got.at("layers/1/attn/v").values[static_cast<std::size_t>(own)];
    BOOST_TEST(got.at("layers/1/attn/context").values[static_cast<std::size_t>(i)] ==
               (real != 0 ? value : 0.0));
  }
}

// A window one too wide or one too narrow gives other logits wherever it can.
BOOST_AUTO_TEST_CASE(neighbouring_windows_differ_at_every_position_that_feels_them) {
  const int64_t window = 3;
  for (ModelConfig config : every_method()) {
    config.window = window;
    const Tensors got = run_seeded(config);
    for (const int64_t other : {window - 1, window + 1}) {
      config.window = other;
      const Tensors apart = run_seeded(config);
      const Values &a = got.at("logits").values, &b = apart.at("logits").values;
      const auto V = static_cast<std::size_t>(config.vocab_size);
      for (std::size_t t = 0; t < static_cast<std::size_t>(kPositions); ++t) {
        const std::span<const double> row{a.data() + t * V, V}, its_row{b.data() + t * V, V};
        const bool is_same = std::equal(row.begin(), row.end(), its_row.begin());
        const bool expected = static_cast<int64_t>(t) < std::min(window, other);
        BOOST_TEST(is_same == expected, title(config) << ", position " << t << ", " << other);
      }
    }
  }
}

// With w_down = 0 in every layer, method 1 adds zeros: r_j = 0.
BOOST_AUTO_TEST_CASE(method_1_with_mlps_that_give_zero_is_plain) {
  const ModelConfig one = ragged_config("1"), plain = ragged_config("plain");
  const Inputs inputs = random_inputs(one, kBatch, kPositions, kSeed, {0, 2});
  Tensors weights = synthetic_weights(one, kSeed);
  for (auto& [name, weight] : weights) {
    if (name.find("down_proj") == std::string::npos) continue;
    std::fill(weight.values.begin(), weight.values.end(), 0.0);
  }
  const Tensors got = run_model(one, inputs, weights), expected = run_model(plain, inputs, weights);
  for (const auto& [name, tensor] : expected) {
    BOOST_TEST(relative_error(got.at(name).values, tensor.values) == 0, name);
  }
}

// Earlier layers with wq = 0 add zero scores.
BOOST_AUTO_TEST_CASE(accumulated_zero_scores_change_nothing) {
  const ModelConfig accumulated = ragged_config("5.1"), plain = ragged_config("plain");
  const Inputs inputs = random_inputs(plain, kBatch, kPositions, kSeed, {0, 2});
  Tensors weights = synthetic_weights(plain, kSeed);
  for (const int layer : {0, 1}) {
    auto& q = weights.at("model.layers." + std::to_string(layer) + ".self_attn.q_proj.weight");
    std::fill(q.values.begin(), q.values.end(), 0.0);
  }
  const Tensors got = run_model(accumulated, inputs, weights);
  for (const auto& [name, tensor] : run_model(plain, inputs, weights)) {
    BOOST_TEST(relative_error(got.at(name).values, tensor.values) == 0, name);
  }
}

// Each key/value head repeated in place for its group: the same products in the same order.
BOOST_AUTO_TEST_CASE(grouped_heads_equal_repeated_heads) {
  for (const ModelConfig& grouped : every_method()) {
    ModelConfig full = grouped;
    full.num_key_value_heads = full.num_attention_heads;
    const Inputs inputs = random_inputs(grouped, kBatch, kPositions, kSeed, {0, 2});
    Tensors weights = synthetic_weights(grouped, kSeed);
    const Tensors expected = run_model(grouped, inputs, weights);
    repeat_heads(grouped, weights);
    const Tensors got = run_model(full, inputs, weights);
    int compared = 0;
    for (const golden::TensorInfo& info : golden::tensor_list(grouped, kBatch, kPositions)) {
      if (info.axes.find('G') != std::string::npos) continue;  // other shapes
      ++compared;
      BOOST_TEST(same_bits(got.at(info.name).values, expected.at(info.name).values),
                 title(grouped) << ": " << info.name);
    }
    BOOST_TEST(compared > 30);
  }
}

// The same query and the same key at every position: their score depends on t - s only.
BOOST_AUTO_TEST_CASE(rope_scores_depend_on_distance_only) {
  constexpr int64_t T = 9, Dh = 6;
  Graph graph;
  const Node q = graph.input("q", {1, 1, T, Dh}, "BHTD"),
             k = graph.input("k", {1, 1, T, Dh}, "BGTD");
  const Node turned_q = rope(q, 50, std::nullopt), turned_k = rope(k, 50, std::nullopt);
  const Node s = attention_scores(turned_q, turned_k);
  const auto everywhere = [&](const std::string& name) {
    const std::vector<double> one = uniform(kSeed, name, Dh);
    std::vector<double> all;
    for (int64_t t = 0; t < T; ++t) all.insert(all.end(), one.begin(), one.end());
    return Array::copy_of({1, 1, T, Dh}, all);
  };
  const auto apply = [](Node node, const std::vector<Array>& operands) {
    Array out = Array::uninitialized(node.shape());
    node.data().op->value(operands, out);
    return out;
  };
  const Array scores =
      apply(s, {apply(turned_q, {everywhere("q")}), apply(turned_k, {everywhere("k")})});
  double spread = 0;
  for (int64_t t = 1; t < T; ++t) {
    for (int64_t key = 1; key < T; ++key) {
      const double here = scores.data()[t * T + key], before = scores.data()[(t - 1) * T + key - 1];
      BOOST_TEST(std::fabs(here - before) <= 1e-14);
      spread = std::fmax(spread, std::fabs(scores.data()[t * T] - scores.data()[0]));
    }
  }
  BOOST_TEST(spread > 0.1);
}

// Padding comes first: its rows have no allowed key, probabilities 0 and finite outputs.
BOOST_AUTO_TEST_CASE(rows_without_allowed_keys_are_zero_and_nothing_is_nan) {
  for (const ModelConfig& config : every_method()) {
    const Tensors got = run_seeded(config);  // row 1 starts with two padded positions
    for (const auto& [name, tensor] : got) {
      const bool scores = name.ends_with("attn/scores");
      for (const double x : tensor.values) {
        BOOST_REQUIRE_MESSAGE(std::isfinite(x) || (scores && x == -INFINITY), name);
      }
    }
    for (int64_t l = 0; l < config.num_hidden_layers; ++l) {
      const Tensor& probs = got.at(golden::layer_name(l, "attn/probs"));
      for (int64_t row = 0; row < kBatch * config.num_attention_heads * kPositions; ++row) {
        const int64_t b = row / kPositions / config.num_attention_heads, t = row % kPositions;
        const int64_t padding = b == 1 ? 2 : 0;
        double total = 0;
        for (int64_t s = 0; s < kPositions; ++s) {
          const double p = probs.values[static_cast<std::size_t>(row * kPositions + s)];
          if (s > t || s < padding) BOOST_TEST(p == 0.0);
          total += p;
        }
        BOOST_TEST(std::fabs(total - (t < padding ? 0 : 1)) <= 1e-14);
      }
    }
  }
}

// What stands in the padding is read by nobody else: other tokens there leave the real rows alone.
BOOST_AUTO_TEST_CASE(tokens_in_the_padding_do_not_matter) {
  for (const ModelConfig& config : every_method()) {
    const Tensors weights = synthetic_weights(config, kSeed);
    Inputs inputs = random_inputs(config, 1, kPositions, kSeed, {2});
    const Tensor before = run_model(config, inputs, weights).at("logits");
    for (const std::size_t t : {0u, 1u}) {
      inputs.tokens[t] = static_cast<double>(static_cast<int64_t>(inputs.tokens[t] + 1) % 11);
    }
    const Tensor after = run_model(config, inputs, weights).at("logits");
    const std::span<const double> a = before.values, b = after.values;
    // Without residual and attention nothing is left of a padded row.
    const bool lost = config.residual == golden::Residual::replace &&
                      golden::find_method(config.method).family == golden::Family::recompute_attn;
    BOOST_TEST(same_bits(a.first(2 * 11), b.first(2 * 11)) == lost, title(config));
    BOOST_TEST(same_bits(a.subspan(2 * 11), b.subspan(2 * 11)), title(config));
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
