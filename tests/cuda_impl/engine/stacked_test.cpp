// Earlier layers run again all at once give what they give one after the other.
#include <boost/test/unit_test.hpp>

#include "cuda_impl/engine/transformer.h"
#include "golden/contract/names.h"
#include "recomputing.h"
#include "recorder.h"

using namespace assay;
using namespace assay::engine_test;
using cuda::Recompute;
using golden::ModelConfig;
using golden::Precision;

namespace {

std::unique_ptr<cuda::Model> make_stacked(const ModelConfig& config, Precision precision,
                                          std::size_t stack_bytes = std::size_t{1} << 30) {
  return make(config, precision, {.recompute = Recompute::stacked, .stack_bytes = stack_bytes});
}

}  // namespace

// Four layers: up to three are run again. 37 positions are more than a tile of keys, 74 rows more
// than one of a gemm.
BOOST_AUTO_TEST_CASE(stacked_equals_each_to_1e_12) {
  const Tokens tokens = padded(2, 37);
  double worst = 0;
  for (const ModelConfig& config : sampled(recomputing(4))) {
    BOOST_TEST_INFO_SCOPE(text_of(config));
    const Recorder each = record(*make(config, Precision::fp64), tokens);
    const Recorder stacked = record(*make_stacked(config, Precision::fp64), tokens);
    std::vector<std::string> expected = each.order;
    std::erase_if(expected, golden::is_recomputed);
    BOOST_TEST(stacked.order == expected, boost::test_tools::per_element());
    BOOST_TEST(stacked.order.size() < each.order.size());
    for (const std::string& name : stacked.order) {
      const double off = difference(each[name], stacked[name]);
      worst = std::max(worst, off);
      BOOST_TEST(off <= 1e-12, name << " differs by " << off);
    }
  }
  BOOST_TEST_MESSAGE("largest difference: " << worst);
}

// Groups of one and of two of the three layers: the sum goes on from one to the next.
BOOST_AUTO_TEST_CASE(how_many_layers_a_group_has_changes_no_bit) {
  const Tokens tokens = padded(2, 9);
  for (const ModelConfig& config : sampled(recomputing(4))) {
    BOOST_TEST_INFO_SCOPE(text_of(config));
    for (const Precision precision : kPrecisions) {
      const Recorder whole = record(*make_stacked(config, precision), tokens);
      for (const std::size_t bytes : {0u, 6000u, 12000u, 25000u, 50000u}) {
        BOOST_TEST(same(record(*make_stacked(config, precision, bytes), tokens), whole),
                   golden::precision_name(precision) << ", " << bytes << " bytes");
      }
    }
  }
}

// A forced tensor is what the later ones are computed from.
BOOST_AUTO_TEST_CASE(taps_force_the_sum_of_a_stack) {
  const Tokens tokens(2, 9);
  for (const char* name : {"layers/2/mlp/sum", "layers/2/input"}) {
    const ModelConfig config = tiny("1", 4);
    const auto model = make_stacked(config, Precision::fp64);
    const Recorder before = record(*model, tokens);
    golden::Tensor changed = before.seen.at(name);
    for (double& value : changed.values) value += 0.5;
    const Recorder stacked = record(*model, tokens, {{name, changed}});
    const Recorder each = record(*make(config, Precision::fp64), tokens, {{name, changed}});
    BOOST_TEST(difference(before["logits"], stacked["logits"]) > 1e-3);
    for (const std::string& later : stacked.order) {
      BOOST_TEST(difference(each[later], stacked[later]) <= 1e-12, later);
    }
  }
}

// In one group, and in several, whose sums go on from one to the next.
BOOST_AUTO_TEST_CASE(gradients_are_those_of_each_to_1e_12) {
  struct Run {
    int64_t positions;
    std::size_t stack_bytes;
  };
  double worst = 0;
  for (const auto& [positions, bytes] : {Run{37, 1 << 30}, Run{9, 50000}, Run{9, 0}}) {
    const Tokens tokens = padded(2, positions);
    for (const ModelConfig& config : sampled(recomputing(4))) {
      BOOST_TEST_INFO_SCOPE(text_of(config) << ", " << bytes << " bytes");
      const Tensors each = gradients_of(*make(config, Precision::fp64), tokens);
      const Tensors stacked = gradients_of(*make_stacked(config, Precision::fp64, bytes), tokens);
      BOOST_TEST(stacked.size() == each.size());
      for (const auto& [name, gradient] : each) {
        const double off = difference(gradient.values, stacked.at(name).values);
        worst = std::max(worst, off);
        BOOST_TEST(off <= 1e-12, name << " differs by " << off);
      }
    }
  }
  BOOST_TEST_MESSAGE("largest difference: " << worst);
}

// A later backward pass finds nothing of an earlier one.
BOOST_AUTO_TEST_CASE(gradients_are_the_same_bits_every_time) {
  const ModelConfig config = tiny("3.2", 4);
  const auto model = make_stacked(config, Precision::bf16);
  const Tensors first = gradients_of(*model, padded(2, 9));
  gradients_of(*model, Tokens(1, 20));
  const Tensors again = gradients_of(*model, padded(2, 9));
  for (const auto& [name, gradient] : first) {
    BOOST_TEST(gradient.values == again.at(name).values, name);
  }
}

BOOST_AUTO_TEST_CASE(fast_atomics_change_no_more_than_the_order_of_a_sum) {
  const Tokens tokens(2, 37);
  for (const ModelConfig& config : {tiny("1"), tiny_gpt2("plain", golden::NormPosition::pre)}) {
    const Tensors expected = gradients_of(*make(config, Precision::fp64), tokens);
    const Tensors got =
        gradients_of(*make(config, Precision::fp64, {.fast_atomics = true}), tokens);
    for (const auto& [name, gradient] : expected) {
      const bool embeds = name.find("embed") != std::string::npos ||
                          name.find(".wte") != std::string::npos ||
                          name.find(".wpe") != std::string::npos;
      BOOST_TEST(difference(gradient.values, got.at(name).values) <= (embeds ? 1e-13 : 0.0), name);
    }
  }
}

BOOST_AUTO_TEST_CASE(later_passes_do_not_allocate) {
  const ModelConfig config = tiny("1", 4);
  cuda::Transformer<float> model(config, Precision::fp32, golden::SyntheticWeights(config, 7),
                                 {.recompute = Recompute::stacked});
  const auto step = [&](int64_t T) {
    model.forward(Tokens(2, T).view(), nullptr);
    model.gradients(Tokens(2, T).view(), {});
  };
  step(12);
  const int64_t allocations = model.allocations();
  for (const int64_t T : {12, 5, 12}) step(T);
  BOOST_TEST(model.allocations() == allocations);
}

// Models without earlier layers to run again are what they were.
BOOST_AUTO_TEST_CASE(other_methods_do_not_notice) {
  const Tokens tokens(2, 9);
  for (const ModelConfig& config : {tiny("plain"), tiny("5.1"), tiny("1", 1)}) {
    BOOST_TEST(same(record(*make_stacked(config, Precision::fp32), tokens),
                    record(*make(config, Precision::fp32), tokens)));
  }
}
