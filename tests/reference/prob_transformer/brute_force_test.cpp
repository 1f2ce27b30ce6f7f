// Every variant of the Probabilistic Transformer by two evaluations that share nothing: the graph
// with its operations, and plain loops over docs/methods.md's sums.
#include "tests/reference/prob_transformer/brute_force.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <set>

#include "golden/contract/names.h"
#include "reference/methods/registry.h"
#include "tests/reference/prob_transformer/variants.h"
#include "tests/reference/random.h"

namespace assay::reference::testing {
namespace {

constexpr uint64_t kSeed = 31;
constexpr int64_t kBatch = 3, kPositions = 6;

// Row 2 is padding but for its last word, which has no head.
Inputs inputs_of(const ModelConfig& config) {
  return random_inputs(config, kBatch, kPositions, kSeed, {0, 2, kPositions - 1});
}

// max |x| / |y|, at least 1, for a scalar y.
double largest_ratio(const Tensor& x, const Tensor& y) {
  double most = std::fabs(y.values[0]);
  for (const double z : x.values) most = std::fmax(most, std::fabs(z));
  return most / std::fabs(y.values[0]);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(brute_force)

BOOST_AUTO_TEST_CASE(every_tensor_of_every_variant_agrees_with_plain_loops) {
  for (const auto& [title, config] : pt_all_variants()) {
    const Inputs inputs = inputs_of(config);
    const Tensors weights = synthetic_weights(config, kSeed);
    const Tensors graph = run_model(config, inputs, weights);
    const Tensors loops = brute_force_pt(config, inputs, weights);
    BOOST_TEST_CONTEXT(title) {
      BOOST_TEST(graph.size() == loops.size());
      for (const auto& [name, tensor] : loops) {
        BOOST_REQUIRE_MESSAGE(graph.contains(name), name);
        BOOST_TEST((graph.at(name).shape == tensor.shape), name);
        // The loss is a difference of numbers as large as the logits.
        const double size = name == "loss" ? largest_ratio(loops.at("logits"), tensor) : 1;
        BOOST_TEST(relative_error(graph.at(name).values, tensor.values) <= 1e-13 * size, name);
      }
    }
  }
}

// What agrees by being all alike would show nothing: heads are neither uniform nor certain.
BOOST_AUTO_TEST_CASE(heads_are_neither_uniform_nor_certain) {
  for (const auto& [title, config] : pt_variants()) {
    const Tensors tensors = run_model(config, inputs_of(config), synthetic_weights(config, kSeed));
    for (const auto& [name, tensor] : tensors) {
      if (!golden::matches("pt/*/heads*", name) || name.starts_with("pt/0/")) continue;
      double least = 1, most = 0;  // of the probabilities of the row with most words
      for (int64_t s = 0; s < kPositions - 1; ++s) {
        const double p = tensor.values[static_cast<std::size_t>((kPositions - 1) * kPositions + s)];
        least = std::fmin(least, p);
        most = std::fmax(most, p);
      }
      BOOST_TEST(most > 1.2 * least, title << " " << name);
      BOOST_TEST(most < 0.99, title << " " << name);
    }
  }
}

// The lists of golden/contract/names.h are what the graph has, in its order.
BOOST_AUTO_TEST_CASE(tensors_and_weights_are_those_that_are_listed) {
  for (const auto& [title, config] : pt_variants()) {
    const auto graph = build_model(config, 2, 5);
    std::vector<std::string> in_graph, listed;
    std::map<std::string, Shape> weights, listed_weights;
    for (const NodeData& node : graph->nodes()) {
      if (node.op != nullptr && !node.name.empty()) in_graph.push_back(node.name);
      if (node.weight) weights[node.name] = node.shape();
    }
    for (const golden::TensorInfo& info : golden::tensor_list(config, 2, 5)) {
      listed.push_back(info.name);
      const NodeData& node = graph->node(graph->find(info.name));
      BOOST_TEST((node.shape() == info.shape), info.name);
      BOOST_TEST(node.result.axes == info.axes, info.name);
    }
    for (const golden::TensorInfo& info : golden::weight_list(config)) {
      listed_weights[info.name] = info.shape;
    }
    BOOST_TEST(in_graph == listed, boost::test_tools::per_element());
    BOOST_TEST((weights == listed_weights), title);
  }
}

// A window as wide as the row hides nothing, one of 1 everything: then no word hears anything.
BOOST_AUTO_TEST_CASE(a_window_is_between_all_heads_and_none) {
  for (const Variant& variant : pt_windowed_variants()) {
    ModelConfig config = variant.config;
    const Inputs inputs = inputs_of(config);
    const Tensors weights = synthetic_weights(config, kSeed);
    const auto logits = [&](int64_t window) {
      config.window = window;
      config.window_kind = window == 0 ? golden::WindowKind::fixed : golden::WindowKind::centred;
      return run_model(config, inputs, weights).at("logits").values;
    };
    BOOST_TEST(same_bits(logits(2 * (kPositions - 1)), logits(0)), variant.title);
    BOOST_TEST(!same_bits(logits(2 * (kPositions - 1) - 1), logits(0)), variant.title);
    BOOST_TEST(!same_bits(logits(2), logits(4)), variant.title);
    BOOST_TEST(same_bits(logits(2), logits(3)), variant.title);  // floor(W/2)
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
