// What evaluating a model takes, counted without evaluating it.
#include "reference/interpreters/cost.h"

#include <boost/test/unit_test.hpp>
#include <set>

#include "reference/graph/op.h"
#include "reference/methods/registry.h"
#include "tests/reference/models.h"

namespace assay::reference::testing {
namespace {

constexpr uint64_t kSeed = 161;

struct Ignore : Observer {
  Array observe(const NodeData&, Array value) override { return value; }
};

// The operations of the nodes that multiply matrices.
double product_flops(const Graph& graph) {
  const std::set<std::string> products{"linear", "attention_scores", "attend"};
  double flops = 0;
  for (const NodeData& node : graph.nodes()) {
    if (node.op == nullptr || !products.contains(node.op->name())) continue;
    std::vector<Operand> operands;
    for (const int input : node.inputs) operands.push_back(graph.node(input).result);
    flops += node.op->flops(operands, node.result);
  }
  return flops;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cost)

// D=512, F=1024, H=8, Hkv=4, Dh=64, V=32000. A layer: 2 T D (2 H Dh + 2 Hkv Dh + 3 F) = 4718592 T
// in linear maps, 4 T^2 H Dh = 2048 T^2 in attention. Running one again: the same without Wq, Wk
// and scores. The head: 2 T D V.
BOOST_AUTO_TEST_CASE(products_of_the_author_model_cost_what_the_formula_says) {
  ModelConfig config = golden::preset("author");
  const double T = 1024, layer = 4718592 * T + 2048 * T * T, head = 32768000 * T;
  config.method = "plain";
  const auto plain = build_model(config, 1, 1024);
  BOOST_TEST(product_flops(*plain) == 8 * layer + head);
  config.method = "1";
  const auto recomputed = build_model(config, 1, 1024);
  BOOST_TEST(product_flops(*recomputed) == 8 * layer + 28 * (3932160 * T + 1024 * T * T) + head);
  // Norms, softmaxes, activations and sums are a small part.
  const double all = cost_of(*recomputed).flops, products = product_flops(*recomputed);
  BOOST_TEST(all > products);
  BOOST_TEST(all < 1.02 * products);
}

BOOST_AUTO_TEST_CASE(peak_memory_is_what_evaluate_holds) {
  for (const ModelConfig& config : every_method()) {
    const Inputs inputs = random_inputs(config, 2, 21, kSeed);
    const Bindings bindings = bind_model(inputs, synthetic_weights(config, kSeed));
    const auto graph = build_model(config, 2, 21);
    const int64_t before = live_bytes();
    reset_peak_bytes();
    Ignore observer;
    evaluate(*graph, bindings, observer);
    BOOST_TEST(cost_of(*graph).peak_bytes == peak_bytes() - before, title(config));
  }
}

BOOST_AUTO_TEST_CASE(bytes_of_one_node_are_its_operands_and_its_result) {
  ModelConfig config = ragged_config("plain");
  const auto graph = build_model(config, 1, 3);
  int64_t bytes = 0;
  for (const NodeData& node : graph->nodes()) {
    if (node.op == nullptr) continue;
    bytes += 8 * golden::element_count(node.shape());
    for (const int input : node.inputs)
      bytes += 8 * golden::element_count(graph->node(input).shape());
  }
  BOOST_TEST(cost_of(*graph).bytes == static_cast<double>(bytes));
  int64_t weights = 0;
  for (const auto& [name, weight] : synthetic_weights(config, kSeed)) {
    weights += 8 * golden::element_count(weight.shape);
  }
  BOOST_TEST(cost_of(*graph).weight_bytes == weights);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
