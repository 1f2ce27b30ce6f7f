// The graph of a model and the list of names that the golden file declares are the same thing.
#include <boost/test/unit_test.hpp>
#include <map>

#include "golden/contract/names.h"
#include "reference/methods/registry.h"
#include "tests/reference/models.h"

namespace tt = boost::test_tools;

namespace assay::reference::testing {
namespace {

std::vector<ModelConfig> untied_and_tied() {
  std::vector<ModelConfig> configs = every_method();
  for (ModelConfig config : every_method()) {
    config.tie_word_embeddings = true;
    configs.push_back(config);
  }
  return configs;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(names)

BOOST_AUTO_TEST_CASE(named_nodes_are_the_tensor_list_in_order) {
  for (const ModelConfig& config : untied_and_tied()) {
    BOOST_TEST_CONTEXT(title(config)) {
      const auto graph = build_model(config, 2, 5);
      const auto list = golden::tensor_list(config, 2, 5);
      std::size_t next = 0;
      for (const NodeData& node : graph->nodes()) {
        if (node.op == nullptr || node.name.empty()) continue;
        BOOST_REQUIRE(next < list.size());
        BOOST_TEST(node.name == list[next].name);
        BOOST_TEST(node.shape() == list[next].shape, tt::per_element());
        BOOST_TEST(node.result.axes == list[next].axes, node.name);
        ++next;
      }
      BOOST_TEST(next == list.size());
    }
  }
}

BOOST_AUTO_TEST_CASE(weights_of_the_graph_are_the_weight_list) {
  for (const ModelConfig& config : untied_and_tied()) {
    BOOST_TEST_CONTEXT(title(config)) {
      std::map<std::string, Shape> in_graph, listed;
      const auto graph = build_model(config, 2, 5);
      for (const NodeData& node : graph->nodes()) {
        if (node.weight) in_graph[node.name] = node.shape();
      }
      for (const golden::TensorInfo& info : golden::weight_list(config)) {
        listed[info.name] = info.shape;
      }
      BOOST_TEST(in_graph.size() == listed.size());
      BOOST_TEST((in_graph == listed));
    }
  }
}

BOOST_AUTO_TEST_CASE(inputs_are_tokens_mask_and_labels) {
  std::vector<std::string> inputs;
  const auto graph = build_model(ragged_config("1"), 2, 5);
  for (const NodeData& node : graph->nodes()) {
    if (node.op != nullptr || node.weight) continue;
    inputs.push_back(node.name);
    BOOST_TEST(node.shape() == (Shape{2, 5}), tt::per_element());
  }
  BOOST_TEST(inputs == (std::vector<std::string>{"tokens", "attention_mask", "labels"}),
             tt::per_element());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
