// The graph: names, weights, and how nodes are described.
#include "reference/graph/graph.h"

#include <boost/test/unit_test.hpp>

#include "golden/contract/error.h"
#include "reference/interpreters/liveness.h"
#include "reference/ops/add.h"
#include "reference/ops/scale.h"

namespace tt = boost::test_tools;

namespace assay::reference {

BOOST_AUTO_TEST_SUITE(graph)

BOOST_AUTO_TEST_CASE(a_weight_is_one_node_however_often_it_is_asked_for) {
  Graph graph;
  const Node first = graph.weight("w", {2, 3});
  BOOST_TEST(graph.weight("w", {2, 3}).id == first.id);
  BOOST_TEST(first.data().weight);
  BOOST_CHECK_THROW(graph.weight("w", {3, 2}), InternalError);
}

BOOST_AUTO_TEST_CASE(a_node_has_one_name_and_a_name_one_node) {
  Graph graph;
  const Node x = graph.input("x", {2}, "D");
  const Node y = graph.name(scale(x, 2), "y");
  BOOST_TEST(graph.find("y") == y.id);
  BOOST_TEST(graph.find("z") == -1);
  BOOST_CHECK_THROW(graph.name(y, "z"), InternalError);
  BOOST_CHECK_THROW(graph.name(scale(x, 3), "y"), InternalError);
  BOOST_CHECK_THROW(graph.input("y", {2}, "D"), InternalError);
}

BOOST_AUTO_TEST_CASE(unnamed_nodes_are_described_by_what_follows) {
  Graph graph;
  const Node x = graph.input("x", {2}, "D");
  const Node a = scale(x, 2);
  const Node y = graph.name(a + x, "y");
  const Node last = scale(y, 2);
  BOOST_TEST(graph.describe(y.id) == "y");
  BOOST_TEST(graph.describe(a.id) == "scale (before y)");
  BOOST_TEST(graph.describe(last.id) == "scale (node 3)");
}

BOOST_AUTO_TEST_CASE(operands_of_another_graph_are_refused) {
  Graph one, other;
  const Node x = one.input("x", {2}, "D"), y = other.input("y", {2}, "D");
  BOOST_CHECK_THROW(x + y, InternalError);
}

BOOST_AUTO_TEST_CASE(nodes_that_no_name_needs_are_left_out) {
  Graph graph;
  const Node x = graph.input("x", {2}, "D");
  const Node y = graph.name(scale(x, 2), "y");
  scale(y, 3);
  BOOST_TEST(needed_by_names(graph) == (std::vector<int>{x.id, y.id}), tt::per_element());
}

BOOST_AUTO_TEST_CASE(a_tensor_is_read_last_by_its_last_reader) {
  Graph graph;
  const Node x = graph.input("x", {2}, "D");
  const Node y = graph.name(scale(x, 2), "y"), z = graph.name(x + y, "z");
  BOOST_TEST(last_uses(graph, needed_by_names(graph)) == (std::vector<int>{z.id, z.id, z.id}),
             tt::per_element());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference
