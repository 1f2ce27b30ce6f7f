// The value interpreter: what it keeps in memory, what forcing changes, what it refuses.
#include "reference/interpreters/value.h"

#include <boost/test/unit_test.hpp>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "reference/interpreters/cost.h"
#include "reference/methods/registry.h"
#include "reference/ops/add.h"
#include "reference/ops/linear.h"
#include "reference/ops/scale.h"
#include "tests/reference/models.h"
#include "tests/reference/random.h"

namespace tt = boost::test_tools;

namespace assay::reference::testing {
namespace {

constexpr uint64_t kSeed = 31;

struct Ignore : Observer {
  Array observe(const NodeData&, Array value) override { return value; }
};

Bindings ones() {
  return [](const NodeData& input) {
    Array array = Array::zeros(input.shape());
    std::fill(array.values().begin(), array.values().end(), 1.0);
    return array;
  };
}

// Bytes that evaluating a graph holds at its worst moment.
int64_t peak_of(const Graph& graph) {
  const int64_t before = live_bytes();
  reset_peak_bytes();
  Ignore observer;
  evaluate(graph, ones(), observer);
  BOOST_TEST(live_bytes() == before);
  return peak_bytes() - before;
}

// The message of the InputError that a run of the ragged model 5.1 ends with.
std::string refusal(const Inputs& inputs, const Tensors& weights) {
  try {
    run_model(ragged_config("5.1"), inputs, weights);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(value)

// x -> a -> b and x -> c: who wants a alone gets neither of the others computed, nor their weight.
BOOST_AUTO_TEST_CASE(what_nobody_wants_is_not_computed) {
  struct Only : Ignore {
    bool wants(const NodeData& node) override { return node.name == "a"; }
    Array observe(const NodeData& node, Array value) override {
      seen += node.name;
      return value;
    }
    std::string seen;
  } only;
  Graph graph;
  const Node x = graph.input("x", {1, 2, 2}, "BTD");
  const Node a = graph.name(scale(x, 2), "a");
  graph.name(linear(a, graph.weight("w", {2, 2})), "b");
  graph.name(scale(x, 3), "c");
  std::string bound;
  evaluate(
      graph,
      [&](const NodeData& input) {
        bound += input.name;
        return ones()(input);
      },
      only);
  BOOST_TEST(only.seen == "a");
  BOOST_TEST(bound == "x");
}

// 40 links of 8000 bytes each and a weight of 800: a link, its operand, and nothing else is alive.
BOOST_AUTO_TEST_CASE(memory_of_a_long_chain_is_its_live_set) {
  Graph graph;
  Node x = graph.input("x", {1, 100, 10}, "BTD");
  for (int link = 0; link < 40; ++link) x = linear(x, graph.weight("w", {10, 10}));
  graph.name(x, "end");
  BOOST_TEST(peak_of(graph) == 2 * 8000 + 800);
  BOOST_TEST(cost_of(graph).peak_bytes == 2 * 8000 + 800);
}

// An operation that can write over its operand does, once nobody else holds it.
BOOST_AUTO_TEST_CASE(a_chain_of_operations_in_place_holds_one_tensor) {
  Graph graph;
  Node x = graph.input("x", {1000}, "D");
  for (int link = 0; link < 40; ++link) x = scale(x, 1.01);
  graph.name(x, "end");
  BOOST_TEST(peak_of(graph) == 8000);
  BOOST_TEST(cost_of(graph).peak_bytes == 8000);
}

// Bound tensors that the caller holds, tensors that an observer holds and tensors that are read
// again keep their values.
BOOST_AUTO_TEST_CASE(what_somebody_else_holds_is_not_written_over) {
  Graph graph;
  const Node x = graph.input("x", {3}, "D");
  const Node y = graph.name(scale(x, 2), "y");
  const Node z = graph.name(scale(y, 2), "z");
  graph.name(sum({scale(z, 2), z}), "w");
  struct Keeper : Observer {
    Array observe(const NodeData& node, Array value) override { return kept[node.name] = value; }
    std::map<std::string, Array> kept;
  } keeper;
  const Array bound = Array::copy_of({3}, std::vector<double>{1, 1, 1});
  evaluate(
      graph, [&](const NodeData&) { return bound; }, keeper);
  const auto first = [&](const char* name) { return keeper.kept.at(name).data()[0]; };
  BOOST_TEST(bound.data()[0] == 1);
  BOOST_TEST(first("y") == 2);
  BOOST_TEST(first("z") == 4);
  BOOST_TEST(first("w") == 12);
}

BOOST_AUTO_TEST_CASE(memory_of_a_model_does_not_grow_with_its_layers) {
  const auto peak = [](int64_t layers) {
    const ModelConfig config = ragged_config("plain", layers);
    const Inputs inputs = random_inputs(config, 2, 40, kSeed);
    const Bindings bindings = bind_model(inputs, synthetic_weights(config, kSeed));
    const int64_t before = live_bytes();
    reset_peak_bytes();
    Ignore observer;
    evaluate(*build_model(config, 2, 40), bindings, observer);
    return peak_bytes() - before;
  };
  BOOST_TEST(peak(12) == peak(3));
}

// One node that reads the same tensor twice, last use and all.
BOOST_AUTO_TEST_CASE(a_tensor_may_be_read_twice_by_its_last_reader) {
  Graph graph;
  const Node x = graph.input("x", {3}, "D");
  const Node y = scale(x, 2);
  graph.name(y + y, "z");
  int bound = 0;
  const Bindings counted = [&](const NodeData& input) {
    ++bound;
    return ones()(input);
  };
  Collector collector;
  evaluate(graph, counted, collector);
  BOOST_TEST(collector.tensors.at("z").values == (std::vector<double>{4, 4, 4}), tt::per_element());
  BOOST_TEST(bound == 1);
}

BOOST_AUTO_TEST_CASE(named_nodes_are_seen_once_in_order_of_computation) {
  const ModelConfig config = ragged_config("1");
  const Inputs inputs = random_inputs(config, 1, 3, kSeed);
  Collector collector;
  evaluate(*build_model(config, 1, 3), bind_model(inputs, synthetic_weights(config, kSeed)),
           collector);
  const auto list = golden::tensor_list(config, 1, 3);
  BOOST_REQUIRE(collector.order.size() == list.size());
  for (std::size_t i = 0; i < list.size(); ++i) BOOST_TEST(collector.order[i] == list[i].name);
}

// Layer 1's gate is replaced: everything before it, and what runs beside it, keeps its bits;
// everything that reads it changes.
BOOST_AUTO_TEST_CASE(forcing_a_tensor_changes_what_follows_and_only_that) {
  const ModelConfig config = ragged_config("1");
  const Inputs inputs = random_inputs(config, 2, 5, kSeed);
  const Tensors weights = synthetic_weights(config, kSeed);
  const Tensors free = run_model(config, inputs, weights);
  Collector collector;
  Tensor gate = free.at("layers/1/mlp/gate");
  for (double& x : gate.values) x += 0.5;
  collector.forced["layers/1/mlp/gate"] = gate;
  const auto graph = build_model(config, 2, 5);
  evaluate(*graph, bind_model(inputs, weights), collector);

  std::vector<bool> reads(graph->nodes().size(), false);
  int changed = 0, kept = 0;
  const int forced = graph->find("layers/1/mlp/gate");
  for (int id = 0; id < static_cast<int>(graph->nodes().size()); ++id) {
    const NodeData& node = graph->node(id);
    for (const int input : node.inputs) {
      if (input == forced || reads[static_cast<std::size_t>(input)]) {
        reads[static_cast<std::size_t>(id)] = true;
      }
    }
    if (node.op == nullptr || node.name.empty()) continue;
    const bool same = same_bits(collector.tensors.at(node.name).values, free.at(node.name).values);
    (same ? kept : changed) += 1;
    BOOST_TEST(same == !reads[static_cast<std::size_t>(id)], node.name);
  }
  BOOST_TEST(changed > 10);
  BOOST_TEST(kept > 10);
}

// Forcing a tensor to what it was is no change at all.
BOOST_AUTO_TEST_CASE(forcing_a_tensor_to_its_own_value_changes_nothing) {
  const ModelConfig config = ragged_config("5.1");
  const Inputs inputs = random_inputs(config, 2, 5, kSeed);
  const Tensors weights = synthetic_weights(config, kSeed);
  const Tensors free = run_model(config, inputs, weights);
  Collector collector;
  collector.forced = free;
  evaluate(*build_model(config, 2, 5), bind_model(inputs, weights), collector);
  for (const auto& [name, tensor] : free) {
    BOOST_TEST(same_bits(collector.tensors.at(name).values, tensor.values), name);
  }
}

BOOST_AUTO_TEST_CASE(a_missing_weight_is_refused_by_name) {
  const ModelConfig config = ragged_config("5.1");
  Tensors weights = synthetic_weights(config, kSeed);
  weights.erase("model.layers.1.mlp.up_proj.weight");
  BOOST_TEST(refusal(random_inputs(config, 2, 5, kSeed), weights) ==
             "model.layers.1.mlp.up_proj.weight: expected [7,10], got nothing");
}

BOOST_AUTO_TEST_CASE(a_weight_of_another_shape_is_refused_by_name_and_shapes) {
  const ModelConfig config = ragged_config("5.1");
  Tensors weights = synthetic_weights(config, kSeed);
  weights["model.layers.1.mlp.up_proj.weight"].shape = {10, 7};
  BOOST_TEST(refusal(random_inputs(config, 2, 5, kSeed), weights) ==
             "model.layers.1.mlp.up_proj.weight: expected [7,10], got [10,7]");
}

BOOST_AUTO_TEST_CASE(a_token_and_a_label_outside_the_vocabulary_are_refused) {
  const ModelConfig config = ragged_config("5.1");
  const Tensors weights = synthetic_weights(config, kSeed);
  Inputs bad_token = random_inputs(config, 2, 5, kSeed), bad_label = bad_token;
  bad_token.tokens[7] = 11;
  bad_label.labels[7] = -1;
  BOOST_TEST(refusal(bad_token, weights).find("token 11") != std::string::npos);
  BOOST_TEST(refusal(bad_token, weights).find("expected 0 .. 10") != std::string::npos);
  BOOST_TEST(refusal(bad_label, weights).find("label -1") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
