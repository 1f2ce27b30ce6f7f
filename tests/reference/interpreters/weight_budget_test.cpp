// Weights within a budget: how much is held, how often one is read again, and that nothing else
// changes.
#include "reference/interpreters/weight_budget.h"

#include <boost/test/unit_test.hpp>
#include <map>

#include "reference/interpreters/value.h"
#include "reference/methods/registry.h"
#include "reference/ops/linear.h"
#include "tests/reference/models.h"

namespace tt = boost::test_tools;

namespace assay::reference::testing {
namespace {

constexpr uint64_t kSeed = 47;
constexpr int64_t kWeight = 100 * 100 * 8, kRow = 100 * 8;  // bytes

struct Ignore : Observer {
  Array observe(const NodeData&, Array value) override { return value; }
};

// x W_0 W_1 .. W_5 W_0 W_1 .. W_5
std::unique_ptr<Graph> twice_through_six() {
  auto graph = std::make_unique<Graph>();
  Node x = graph->input("x", {1, 1, 100}, "BTD");
  for (int i = 0; i < 12; ++i) {
    x = linear(x, graph->weight("w" + std::to_string(i % 6), {100, 100}));
  }
  graph->name(x, "end");
  return graph;
}

struct Run {
  int64_t peak = 0;  // bytes beyond what was alive before
  int binds = 0;     // of weights
};

Run run_chain(int64_t weight_bytes) {
  const auto graph = twice_through_six();
  Run run;
  Ignore observer;
  const int64_t before = live_bytes();
  reset_peak_bytes();
  evaluate(
      *graph,
      [&](const NodeData& input) {
        run.binds += input.weight;
        return Array::zeros(input.shape());
      },
      observer, weight_bytes);
  run.peak = peak_bytes() - before;
  BOOST_TEST(live_bytes() == before);
  return run;
}

int64_t most_read_by_one_node(const Graph& graph) {
  int64_t most = 0;
  for (const NodeData& node : graph.nodes()) {
    int64_t bytes = 0;
    for (const int input : node.inputs) {
      if (graph.node(input).weight) bytes += 8 * golden::element_count(graph.node(input).shape());
    }
    most = std::max(most, bytes);
  }
  return most;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(weight_budget)

// Beside the weights a link holds its operand and its result.
BOOST_AUTO_TEST_CASE(peak_is_the_budget_and_the_live_set) {
  BOOST_TEST(run_chain(kNoLimit).peak == 6 * kWeight + 2 * kRow);
  BOOST_TEST(run_chain(6 * kWeight).peak == 6 * kWeight + 2 * kRow);
  BOOST_TEST(run_chain(4 * kWeight - 1).peak == 3 * kWeight + 2 * kRow);
  BOOST_TEST(run_chain(3 * kWeight).peak == 3 * kWeight + 2 * kRow);
}

BOOST_AUTO_TEST_CASE(what_one_node_reads_is_held_whatever_the_budget) {
  const Run run = run_chain(1);
  BOOST_TEST(run.peak == kWeight + 2 * kRow);
  BOOST_TEST(run.binds == 12);
}

// With room for three, 0 and 1 stay from the first pass; of 2, 3, 4 and 5 the last one read does.
// Letting go of the least recently used would bind all twelve.
BOOST_AUTO_TEST_CASE(weights_whose_next_reader_is_farthest_go_first) {
  BOOST_TEST(run_chain(kNoLimit).binds == 6);
  BOOST_TEST(run_chain(3 * kWeight).binds == 9);
}

// The first and the last node read w; for the one between them there is room for v only.
BOOST_AUTO_TEST_CASE(a_weight_that_was_let_go_is_bound_again) {
  Graph graph;
  const Node w = graph.weight("w", {3, 3}), v = graph.weight("v", {3, 3});
  const Node x = graph.input("x", {1, 1, 3}, "BTD");
  graph.name(linear(linear(linear(x, w), v), w), "end");
  for (const int64_t bytes : {int64_t{1}, int64_t{72}, kNoLimit}) {
    int binds = 0;
    Ignore observer;
    evaluate(
        graph,
        [&](const NodeData& input) {
          binds += input.weight;
          return Array::zeros(input.shape());
        },
        observer, bytes);
    BOOST_TEST(binds == (bytes == kNoLimit ? 2 : 3));
  }
}

// The live set is measured with weights that are alive before and after, so that only the rest
// counts.
BOOST_AUTO_TEST_CASE(a_model_stays_within_budget_and_its_tensors_are_the_same_bits) {
  for (const ModelConfig& config : {ragged_config("1", 5), ragged_config("5.1", 5)}) {
    const Inputs inputs = random_inputs(config, 2, 9, kSeed, {0, 3});
    const Tensors weights = synthetic_weights(config, kSeed);
    const Bindings bindings = bind_model(inputs, weights);
    const auto graph = build_model(config, 2, 9);
    const auto run = [&](const Bindings& from, int64_t bytes, Collector& collector) {
      const int64_t before = live_bytes();
      reset_peak_bytes();
      evaluate(*graph, from, collector, bytes);
      return peak_bytes() - before;
    };
    std::map<std::string, Array> alive;
    const auto share = [&](const NodeData& input) {
      if (!input.weight) return bindings(input);
      const auto found = alive.find(input.name);
      return found != alive.end() ? found->second : alive[input.name] = bindings(input);
    };
    for (const NodeData& node : graph->nodes()) {
      if (node.weight) share(node);
    }
    Collector due;
    const int64_t live = run(share, kNoLimit, due);
    Collector whole;
    const int64_t most = run(bindings, kNoLimit, whole);
    for (const int64_t bytes : {int64_t{1}, int64_t{2000}, int64_t{8000}}) {
      Collector within;
      const int64_t peak = run(bindings, bytes, within);
      BOOST_TEST(peak <= live + std::max(bytes, most_read_by_one_node(*graph)));
      // Method 1 alone reads weights of earlier layers again.
      if (config.method == "1") BOOST_TEST(peak < most);
      BOOST_TEST(within.order == due.order, tt::per_element());
      for (const auto& [name, tensor] : due.tensors) {
        BOOST_TEST(within.tensors.at(name).values == tensor.values, name);
      }
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
