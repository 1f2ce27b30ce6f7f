// Gradient checkpointing and dropout on the host executor: the same bits with less memory, and
// masks that belong to step, branch and element alone.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "pass_bytes.h"
#include "plain_adamw.h"
#include "recorder.h"

using namespace assay;
using namespace assay::engine_test;
using cuda::Keep;
using cuda::TrainingOptions;
using golden::ModelConfig;
using golden::Precision;

namespace {

constexpr Keep kLess[] = {Keep::shared, Keep::inputs};

std::string keep_text(Keep keep) { return keep == Keep::shared ? "shared" : "inputs"; }

// Padding in every row but the first, behind the row's end and ahead of it; labels that do not
// count.
Tokens padded(int64_t B, int64_t T) {
  Tokens tokens(B, T);
  for (int64_t b = 1; b < B; ++b) {
    const int64_t padding = std::min<int64_t>(b, T - 1);
    for (int64_t i = 0; i < padding; ++i) {
      const int64_t t = b % 2 == 1 ? T - 1 - i : i;
      tokens.mask[static_cast<std::size_t>(b * T + t)] = 0;
      tokens.labels[static_cast<std::size_t>(b * T + t)] = -100;
    }
  }
  return tokens;
}

// Bits of numbers: NaN equals nothing.
bool same_bits(const std::vector<double>& a, const std::vector<double>& b) { return a == b; }

void check_same_gradients(const Tensors& got, const Tensors& expected) {
  BOOST_REQUIRE_EQUAL(got.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    BOOST_TEST(same_bits(got.at(name).values, tensor.values), name);
  }
}

Precision narrow_in_turn(int turn) { return turn % 2 == 0 ? Precision::bf16 : Precision::fp16; }

std::unique_ptr<cuda::Trainer> trainer_of(const ModelConfig& config, Precision precision,
                                          const TrainingOptions& options) {
  return cuda::make_host_trainer(config, precision, golden::SyntheticWeights(config, 7), options);
}

// Every model of the engine but `pt`, which keeps everything, with windows, sinks, one key head,
// heads tied to embeddings.
std::vector<ModelConfig> trained_models(int64_t layers = 3) {
  std::vector<ModelConfig> all = models(layers);
  for (const ModelConfig& config : windowed_models()) {
    all.push_back(config);
    all.back().num_hidden_layers = layers;
    all.back().full_layers = layers > 1 ? config.full_layers : std::vector<int64_t>{};
  }
  for (const char* method : {"plain", "1", "4.2", "5.1"}) {
    all.push_back(tiny(method, layers));
    all.back().tie_word_embeddings = true;
    all.back().num_key_value_heads = 1;
  }
  return all;
}

}  // namespace

BOOST_AUTO_TEST_CASE(gradients_have_the_bits_of_a_pass_that_keeps_all) {
  const Tokens tokens = padded(3, 5);
  int turn = 0;
  for (const ModelConfig& config : sampled(trained_models())) {
    const int i = turn++;
    for (const Precision precision : {i % 2 == 0 ? Precision::fp32 : narrow_in_turn(i / 2)}) {
      BOOST_TEST_INFO_SCOPE(text_of(config) << ", " << golden::precision_name(precision));
      const Tensors expected = gradients_of(*make(config, precision), tokens);
      for (const Keep keep : kLess) {
        BOOST_TEST_INFO_SCOPE(keep_text(keep));
        check_same_gradients(gradients_of(*make(config, precision, {.keep = keep}), tokens),
                             expected);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(so_they_have_of_one_position_of_one_layer_and_of_several_shapes) {
  for (const int64_t layers : {1, 2, 4}) {
    for (const char* method : {"plain", "1", "2", "3.2", "4.2", "5.1", "5.1D"}) {
      const ModelConfig config = tiny(method, layers);
      BOOST_TEST_INFO_SCOPE(text_of(config) << ", " << layers << " layers");
      for (const Keep keep : kLess) {
        const auto model = make(config, Precision::fp32, {.keep = keep});
        const auto whole = make(config, Precision::fp32);
        for (const auto& [B, T] : {std::pair{1, 1}, {2, 33}, {3, 1}, {1, 2}}) {
          const Tokens tokens = padded(B, T);
          check_same_gradients(gradients_of(*model, tokens), gradients_of(*whole, tokens));
        }
      }
    }
  }
}

// Recomputes all at once, with probabilities kept or not, keep A_j side by side.
BOOST_AUTO_TEST_CASE(stacked_and_stored_recomputes_have_their_own_bits_again) {
  const Tokens tokens = padded(3, 7);
  for (const char* method : {"1", "2", "3.2", "4.2"}) {
    for (const auto recompute : {cuda::Recompute::each, cuda::Recompute::stacked}) {
      for (const std::size_t stored : {0, 1 << 20}) {
        for (const Precision precision : {Precision::fp32, Precision::bf16}) {
          const ModelConfig config = tiny(method, 4);
          cuda::ModelOptions options{.recompute = recompute, .stored_bytes = stored};
          const Tensors expected = gradients_of(*make(config, precision, options), tokens);
          options.keep = Keep::shared;
          check_same_gradients(gradients_of(*make(config, precision, options), tokens), expected);
        }
      }
    }
  }
}

// Tensors that are forced reach the layers that run others again, whatever the model did before.
BOOST_AUTO_TEST_CASE(a_forward_pass_behind_a_backward_pass_is_as_it_was) {
  const Tokens tokens = padded(3, 7);
  for (const char* method : {"plain", "1", "4.2", "5.1"}) {
    const auto plain = make(tiny(method), Precision::fp32);
    const auto model = make(tiny(method), Precision::fp32, {.keep = Keep::inputs});
    Tensors forced;
    const golden::Shape shape = record(*plain, tokens).seen.at("layers/0/attn/q").shape;
    forced["layers/0/attn/q"] = {
        shape, std::vector<double>(static_cast<std::size_t>(golden::element_count(shape)), 0.25)};
    gradients_of(*model, tokens);
    BOOST_TEST(same(record(*model, tokens, forced), record(*plain, tokens, forced)));
    check_same_gradients(gradients_of(*model, tokens), gradients_of(*plain, tokens));
  }
}

// Two steps of two unequal micro-batches, weights and moments to the last bit; dropout has the
// forward pass's masks again.
BOOST_AUTO_TEST_CASE(a_trainer_that_keeps_less_trains_as_one_that_keeps_all) {
  const Tokens first = padded(3, 5), second = padded(1, 3);
  int turn = 0;
  for (const ModelConfig& config : sampled(trained_models())) {
    if (!is_typical(config.method)) continue;
    const int i = turn++;
    for (const Precision precision : {i % 2 == 0 ? Precision::fp32 : narrow_in_turn(i / 2)}) {
      BOOST_TEST_INFO_SCOPE(text_of(config) << ", " << golden::precision_name(precision));
      TrainingOptions options{.max_norm = 1, .loss_scale = 64, .dropout = 0.3};
      const auto ends = [&](Keep keep) {
        options.model.keep = keep;
        const auto trainer = trainer_of(config, precision, options);
        for (int step = 0; step < 2; ++step) {
          trainer->accumulate(first.view());
          trainer->accumulate(second.view());
          trainer->step(0.02);
        }
        return std::pair{weights_of(*trainer), moments_of(*trainer)};
      };
      const auto [weights, moments] = ends(Keep::all);
      for (const Keep keep : kLess) {
        BOOST_TEST_INFO_SCOPE(keep_text(keep));
        const auto again = ends(keep);
        for (const auto& [name, values] : weights) {
          BOOST_TEST(same_bits(again.first.at(name), values), name);
        }
        BOOST_TEST((again.second == moments));
      }
    }
  }
}

// ------------------------------------------------------------------------------------------------
// memory

// What a layer more takes, in scalars for each position in fp32, as memory/buffers.h says.
BOOST_AUTO_TEST_CASE(a_layer_takes_its_input_and_what_is_said_of_later_layers) {
  constexpr int64_t kB = 2, kT = 33;
  constexpr int64_t kD = 16, kH = 4, kQ = kH * 6, kK = 2 * 6;
  const Tokens tokens(kB, kT);
  const auto check = [&](const ModelConfig& three, Keep keep, int64_t per_position,
                         const cuda::ModelOptions& given = {}) {
    BOOST_TEST_INFO_SCOPE(text_of(three) << " " << keep_text(keep));
    cuda::ModelOptions options = given;
    options.keep = keep;
    ModelConfig four = three;
    four.num_hidden_layers = 4;
    int64_t gradients = 0;
    for (const golden::TensorInfo& weight : golden::weight_list(four)) {
      gradients += golden::element_count(weight.shape);
    }
    for (const golden::TensorInfo& weight : golden::weight_list(three)) {
      gradients -= golden::element_count(weight.shape);
    }
    const int64_t expected = 4 * (kB * kT * per_position + gradients);
    const auto growth = static_cast<int64_t>(bytes_of(four, tokens, options, true)) -
                        static_cast<int64_t>(bytes_of(three, tokens, options, true));
    const int64_t slack = 24 * 256;  // arrays begin at multiples of 256 bytes
    BOOST_TEST(std::abs(growth - expected) <= slack, growth << " for " << expected);
  };
  constexpr int64_t kScoreGradients = kQ + kK;
  for (const Keep keep : kLess) {
    check(tiny("plain"), keep, kD);
    check(tiny_normed("plain"), keep, kD);
    check(tiny_gpt2("plain", golden::NormPosition::post), keep, kD);
    check(tiny("5.1"), keep, kD + kQ + kK + kScoreGradients);
    const int64_t shared = keep == Keep::shared ? kQ + kK + kH : 0;
    for (const char* method : {"1", "2", "4.2"}) {
      check(tiny(method), keep, kD + shared + kScoreGradients + kD);
    }
    check(tiny_normed("4.2"), keep, kD + shared + kScoreGradients + kD);
  }
  constexpr int64_t kStack = 2 * kK + kQ, kStackGradients = kK + kQ + kH;
  check(tiny("4.1"), Keep::shared, kD + kQ + kK + kH + kScoreGradients + kStack + kStackGradients,
        {.recompute = cuda::Recompute::stacked});
}

BOOST_AUTO_TEST_CASE(nothing_is_allocated_behind_the_first_step) {
  const Tokens large(3, 9), small(1, 4);
  for (const char* method : {"plain", "1", "5.1"}) {
    for (const Keep keep : kLess) {
      const ModelConfig config = tiny(method);
      cuda::Transformer<float> model(config, Precision::fp32, golden::SyntheticWeights(config, 7),
                                     {.keep = keep});
      gradients_of(model, large);
      const std::size_t bytes = model.bytes();
      for (int step = 0; step < 3; ++step) {
        gradients_of(model, small);
        gradients_of(model, large);
      }
      BOOST_TEST(model.bytes() == bytes);
    }
  }
}

BOOST_AUTO_TEST_CASE(what_cannot_keep_less_is_refused) {
  const std::string where = "model: keep: ";
  check_refused(
      [] {
        make(tiny("1"), Precision::fp32,
             {.recompute = cuda::Recompute::stacked, .keep = Keep::inputs});
      },
      where +
          "stacked recomputes read A_j of all earlier layers at once: expected all or shared "
          "with them, got inputs");
  check_refused(
      [] { make(tiny("2"), Precision::fp32, {.stored_bytes = 1, .keep = Keep::inputs}); },
      where +
          "stored probabilities read A_j of all earlier layers at once: expected all or shared "
          "with them, got inputs");
  check_refused([] { make(tiny("pt"), Precision::fp32, {.keep = Keep::shared}); },
                where +
                    "later rounds of method pt read labels and heads of every round: expected "
                    "all, got shared");
  check_refused(
      [] { trainer_of(tiny("pt"), Precision::fp32, {.model = {.keep = Keep::inputs}}); },
      where +
          "later rounds of method pt read labels and heads of every round: expected all, got "
          "inputs");
  // What runs nothing again is not concerned.
  make(tiny("5.1"), Precision::fp32, {.recompute = cuda::Recompute::stacked, .keep = Keep::inputs});
}

// ------------------------------------------------------------------------------------------------
// dropout

// The micro-batches count 5, 0 and 11 positions: their masks are those of the rows of one batch.
BOOST_AUTO_TEST_CASE(micro_batches_have_the_masks_of_the_one_batch) {
  Tokens all(4, 7);
  std::fill(all.labels.begin() + 7, all.labels.begin() + 14, -100);
  std::fill(all.labels.begin() + 22, all.labels.begin() + 23, -100);
  const auto rows_of = [&](int64_t first, int64_t count) {
    Tokens part(count, all.T);
    const auto begin = first * all.T, end = (first + count) * all.T;
    part.tokens.assign(all.tokens.begin() + begin, all.tokens.begin() + end);
    part.labels.assign(all.labels.begin() + begin, all.labels.begin() + end);
    return part;
  };
  for (const ModelConfig& config : sampled(trained_models())) {
    if (!is_typical(config.method)) continue;
    BOOST_TEST_INFO_SCOPE(text_of(config));
    const TrainingOptions options{.eps = 1e-4, .dropout = 0.25, .dropout_seed = 5};
    const auto whole = trainer_of(config, Precision::fp64, options);
    const auto parts = trainer_of(config, Precision::fp64, options);
    for (int step = 0; step < 2; ++step) {
      whole->accumulate(all.view());
      for (const auto& [first, count] : {std::pair{0, 1}, {1, 1}, {2, 2}}) {
        parts->accumulate(rows_of(first, count).view());
      }
      const double expected = whole->step(0.01).loss, got = parts->step(0.01).loss;
      BOOST_TEST(std::fabs(got - expected) <= 1e-12 * expected);
    }
    const Values got = weights_of(*parts);
    for (const auto& [name, values] : weights_of(*whole)) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        BOOST_REQUIRE(std::fabs(values[i] - got.at(name)[i]) <= 1e-12);
      }
    }
  }
}

// Another step, another seed and no dropout give other losses of the same weights and tokens; a
// trainer that is restored has those of the one that it goes on from.
BOOST_AUTO_TEST_CASE(a_mask_belongs_to_seed_and_step) {
  const Tokens tokens(2, 7);
  const auto loss_of = [&](double rate, uint64_t seed, int64_t steps) {
    const ModelConfig config = tiny("1");
    const auto trainer =
        trainer_of(config, Precision::fp64, {.dropout = rate, .dropout_seed = seed});
    const Moments none = moments_of(*trainer);
    trainer->accumulate(tokens.view());  // rows that are dropped with what was gathered
    trainer->restore({.steps = steps}, HeldWeights(none.first), HeldWeights(none.second));
    trainer->accumulate(tokens.view());
    return trainer->step(0).loss;
  };
  const double loss = loss_of(0.25, 3, 5);
  BOOST_TEST(loss == loss_of(0.25, 3, 5));
  BOOST_TEST(loss != loss_of(0.25, 3, 6));
  BOOST_TEST(loss != loss_of(0.25, 4, 5));
  BOOST_TEST(loss != loss_of(0, 3, 5));
  BOOST_TEST(loss_of(0, 3, 5) == loss_of(0, 4, 6));
}

BOOST_AUTO_TEST_CASE(a_rate_that_is_none_is_refused) {
  const auto make_with = [](const char* method, double rate) {
    return [=] { trainer_of(tiny(method), Precision::fp32, {.dropout = rate}); };
  };
  check_refused(make_with("plain", 1),
                "trainer: dropout: expected 0 or more and less than 1, got 1");
  check_refused(make_with("plain", -0.5),
                "trainer: dropout: expected 0 or more and less than 1, got -0.5");
  check_refused(make_with("1", std::nan("")),
                "trainer: dropout: expected 0 or more and less than 1, got nan");
  check_refused(
      make_with("pt", 0.5),
      "trainer: dropout: method pt has no residual branches: expected 0 with it, got 0.5");
}
