// Recomputes that read stored probabilities give what those give that rebuild them; which of the
// two a pass takes is decided by the size of what would be stored.
#include <boost/test/unit_test.hpp>

#include "golden/contract/names.h"
#include "pass_bytes.h"
#include "recomputing.h"
#include "recorder.h"

using namespace assay;
using namespace assay::engine_test;
using cuda::ModelOptions;
using cuda::Recompute;
using golden::ModelConfig;
using golden::Precision;

namespace {

constexpr std::size_t kPlenty = std::size_t{1} << 30;

// (L-1) B H T T scalars
std::size_t stored_bytes(const ModelConfig& config, const Tokens& tokens, std::size_t scalar) {
  return static_cast<std::size_t>((config.num_hidden_layers - 1) * tokens.B *
                                  config.num_attention_heads * tokens.T * tokens.T) *
         scalar;
}

// One after the other, all at once, and in groups of one layer.
std::vector<ModelOptions> ways() {
  return {{.recompute = Recompute::each},
          {.recompute = Recompute::stacked},
          {.recompute = Recompute::stacked, .stack_bytes = 0}};
}

ModelOptions with_stored(ModelOptions options, std::size_t bytes) {
  options.stored_bytes = bytes;
  return options;
}

}  // namespace

// Four layers: up to three are run again. 37 positions are more than a tile of keys.
BOOST_AUTO_TEST_CASE(stored_equals_replayed_to_1e_12) {
  const Tokens tokens = padded(2, 37);
  double worst = 0;
  for (const ModelConfig& config : sampled(recomputing(4))) {
    BOOST_TEST_INFO_SCOPE(text_of(config));
    for (const ModelOptions& way : ways()) {
      const Recorder replayed = record(*make(config, Precision::fp64, way), tokens);
      const Recorder stored =
          record(*make(config, Precision::fp64, with_stored(way, kPlenty)), tokens);
      BOOST_TEST(stored.order == replayed.order, boost::test_tools::per_element());
      for (const std::string& name : stored.order) {
        const double off = difference(replayed[name], stored[name]);
        worst = std::max(worst, off);
        BOOST_TEST(off <= 1e-12, name << " differs by " << off);
      }
    }
  }
  BOOST_TEST_MESSAGE("largest difference: " << worst);
}

// In bf16 the bits tell which mode it was: stored probabilities are rounded.
BOOST_AUTO_TEST_CASE(probabilities_are_stored_where_they_just_fit) {
  const Tokens tokens = padded(2, 16);
  for (const char* method : {"1", "2", "4.2"}) {
    const ModelConfig config = tiny(method, 4);
    const std::size_t needed = stored_bytes(config, tokens, 2);
    for (const ModelOptions& way : ways()) {
      const auto run = [&](std::size_t bytes) {
        return record(*make(config, Precision::bf16, with_stored(way, bytes)), tokens);
      };
      const Recorder replayed = run(0), stored = run(kPlenty);
      BOOST_TEST(!same(stored, replayed), method);
      BOOST_TEST(same(run(needed), stored), method);
      BOOST_TEST(same(run(needed - 1), replayed), method);
    }
  }
}

// Sizes are multiples of an array's alignment, so that the figure is exact.
BOOST_AUTO_TEST_CASE(memory_is_that_of_the_probabilities_and_taken_only_where_they_fit) {
  const Tokens tokens(2, 16);
  for (const char* method : {"1", "4.2"}) {
    const ModelConfig config = tiny(method, 4);
    const std::size_t needed = stored_bytes(config, tokens, sizeof(float));
    for (const ModelOptions& way : ways()) {
      for (const bool backward : {false, true}) {
        const auto bytes = [&](std::size_t stored) {
          return bytes_of(config, tokens, with_stored(way, stored), backward);
        };
        BOOST_TEST(bytes(needed) == bytes(0) + needed, method);
        BOOST_TEST(bytes(needed - 1) == bytes(0), method);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(gradients_are_those_of_the_replay_to_1e_12) {
  const Tokens tokens = padded(2, 9);
  const auto gradients_with = [&](const ModelConfig& config, std::size_t bytes) {
    return gradients_of(*make(config, Precision::fp64, {.stored_bytes = bytes}), tokens);
  };
  for (const ModelConfig& config : sampled(recomputing(4))) {
    BOOST_TEST_INFO_SCOPE(text_of(config));
    const Tensors replayed = gradients_with(config, 0), stored = gradients_with(config, kPlenty);
    BOOST_TEST(stored.size() == replayed.size());
    for (const auto& [name, gradient] : replayed) {
      const double off = difference(gradient.values, stored.at(name).values);
      BOOST_TEST(off <= 1e-12, name << " differs by " << off);
    }
  }
}

// A forward pass and that of a training step take the same mode, before and after each other.
BOOST_AUTO_TEST_CASE(the_loss_of_gradients_is_that_of_forward) {
  const Tokens tokens = padded(2, 9);
  const ModelConfig config = tiny("1", 4);
  const auto model = make(config, Precision::bf16, {.stored_bytes = kPlenty});
  const Recorder before = record(*model, tokens);
  const double loss =
      model->gradients(tokens.view(), [](const std::string&, golden::TensorView) {});
  BOOST_TEST(loss == before["loss"][0]);
  BOOST_TEST(same(record(*model, tokens), before));
}

BOOST_AUTO_TEST_CASE(later_passes_do_not_allocate) {
  const ModelConfig config = tiny("1", 4);
  for (const ModelOptions& way : ways()) {
    cuda::Transformer<float> model(config, Precision::fp32, golden::SyntheticWeights(config, 7),
                                   with_stored(way, kPlenty));
    model.forward(Tokens(2, 12).view(), nullptr);
    const int64_t allocations = model.allocations();
    for (const int64_t T : {12, 5, 12}) model.forward(Tokens(2, T).view(), nullptr);
    BOOST_TEST(model.allocations() == allocations);
  }
}

// A batch that is too large, and one that fits, each after the other.
BOOST_AUTO_TEST_CASE(every_batch_takes_its_own_mode) {
  const ModelConfig config = tiny("2", 4);
  const Tokens small = padded(2, 9), large = padded(2, 10);
  for (const ModelOptions& way : ways()) {
    const ModelOptions options = with_stored(way, stored_bytes(config, small, 2));
    const auto model = make(config, Precision::bf16, options);
    const Recorder replayed = record(*make(config, Precision::bf16, way), large);
    const Recorder stored = record(*make(config, Precision::bf16, options), small);
    for (int pass = 0; pass < 2; ++pass) {
      BOOST_TEST(same(record(*model, large), replayed));
      BOOST_TEST(same(record(*model, small), stored));
    }
  }
}

// Nothing is stored by a decoder, nor by a model without earlier layers to run again.
BOOST_AUTO_TEST_CASE(decoders_and_other_methods_do_not_notice) {
  const Tokens tokens(2, 9);
  const auto decoded = [&](const ModelOptions& options) {
    std::vector<double> logits(2 * 11);
    make(tiny("1", 4), Precision::bf16, options)
        ->decoder(2, 9)
        ->append({9, tokens.tokens, {}, {}}, logits);
    return logits;
  };
  for (const ModelOptions& way : ways()) {
    BOOST_TEST(decoded(with_stored(way, kPlenty)) == decoded(way),
               boost::test_tools::per_element());
    for (const ModelConfig& config : {tiny("plain"), tiny("5.1"), tiny("1", 1)}) {
      BOOST_TEST(bytes_of(config, tokens, with_stored(way, kPlenty), false) ==
                 bytes_of(config, tokens, way, false));
    }
  }
}
