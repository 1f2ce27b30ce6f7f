// The reverse pass on small graphs whose gradients fit in a comment.
#include "reference/interpreters/gradient.h"

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "golden/contract/error.h"
#include "reference/ops/add.h"
#include "reference/ops/cross_entropy.h"
#include "reference/ops/linear.h"
#include "reference/ops/scale.h"
#include "tests/reference/models.h"

namespace tt = boost::test_tools;

namespace assay::reference::testing {
namespace {

// Inputs by name; shapes are the graph's.
Bindings bind_values(const std::map<std::string, std::vector<double>>& values) {
  return [values](const NodeData& input) {
    return Array::copy_of(input.shape(), values.at(input.name));
  };
}

// z = 2 x w^T, and the loss of one prediction among two labels.
struct Small {
  Small() {
    const Node x = graph.input("x", {1, 2, 1}, "BTD");
    const Node labels = graph.input("labels", {1, 2}, "BT");
    const Node w = graph.weight("w", {2, 1});
    const Node y = graph.name(linear(x, w), "y");
    graph.name(scale(y, 5), "unused");
    z = graph.name(y + y, "z");
    graph.name(scale(x, 3), "beside");
    loss = graph.name(cross_entropy(z, labels), "loss");
  }
  Graph graph;
  Node z, loss;
  const Bindings bindings =
      bind_values({{"x", {3, 7}}, {"labels", {-100, 1}}, {"w", {0.25, 0.25}}});
};

}  // namespace

BOOST_AUTO_TEST_SUITE(gradient)

// Equal logits: softmax is (1/2, 1/2) and dz = (1/2, -1/2) at t = 0, nothing at t = 1. y is read
// twice, so dy = (1, -1); dw = dy * x = (3, -3).
BOOST_AUTO_TEST_CASE(a_tensor_read_twice_gets_both_gradients) {
  const Small small;
  Collector values;
  GradientCollector grads;
  evaluate_with_gradient(small.graph, small.bindings, small.loss.id, values, grads);
  BOOST_TEST(grads.gradients.at("loss").values == (std::vector<double>{1}), tt::per_element());
  BOOST_TEST(grads.gradients.at("z").values == (std::vector<double>{0.5, -0.5, 0, 0}),
             tt::tolerance(1e-15) << tt::per_element());
  BOOST_TEST(grads.gradients.at("y").values == (std::vector<double>{1, -1, 0, 0}),
             tt::tolerance(1e-15) << tt::per_element());
  BOOST_TEST(grads.gradients.at("w").values == (std::vector<double>{3, -3}),
             tt::tolerance(1e-15) << tt::per_element());
}

BOOST_AUTO_TEST_CASE(only_tensors_between_a_weight_and_the_loss_have_gradients) {
  const Small small;
  Collector values;
  GradientCollector grads;
  evaluate_with_gradient(small.graph, small.bindings, small.loss.id, values, grads);
  std::vector<std::string> names;
  for (const auto& [name, gradient] : grads.gradients) names.push_back(name);
  BOOST_TEST(names == (std::vector<std::string>{"loss", "w", "y", "z"}), tt::per_element());
  BOOST_TEST(values.tensors.contains("unused"));
  BOOST_TEST(values.tensors.contains("beside"));
}

// 40 links of 8000 bytes whose rules read no values. What stays is x (for dw), the logits (for
// their own gradient), two neighbouring gradients and the small w, dw and labels: below five links.
BOOST_AUTO_TEST_CASE(what_no_rule_reads_is_not_kept) {
  Graph graph;
  const Node labels = graph.input("labels", {1, 200}, "BT");
  Node x = linear(graph.input("x", {1, 200, 5}, "BTD"), graph.weight("w", {5, 5}));
  for (int link = 0; link < 40; ++link) x = scale(x, 1.01);
  const Node loss = graph.name(cross_entropy(x, labels), "loss");
  const Bindings zeros = [](const NodeData& input) { return Array::zeros(input.shape()); };
  struct : Observer, GradientObserver {
    Array observe(const NodeData&, Array value) override { return value; }
    void observe_gradient(const NodeData&, const Array&) override {}
  } ignore;
  const int64_t before = live_bytes();
  reset_peak_bytes();
  evaluate_with_gradient(graph, zeros, loss.id, ignore, ignore);
  BOOST_TEST(peak_bytes() - before < 5 * 8000);
  BOOST_TEST(live_bytes() == before);
}

// What is forced is what gradients are taken at: z forced to (ln 3, 0) has softmax (3/4, 1/4), and
// dz = (3/4, -3/4).
BOOST_AUTO_TEST_CASE(gradients_are_taken_at_forced_values) {
  const Small small;
  Collector values;
  values.forced["z"] = {{1, 2, 2}, {std::log(3.0), 0, 0, 0}};
  GradientCollector grads;
  evaluate_with_gradient(small.graph, small.bindings, small.loss.id, values, grads);
  BOOST_TEST(grads.gradients.at("z").values == (std::vector<double>{0.75, -0.75, 0, 0}),
             tt::tolerance(1e-15) << tt::per_element());
}

BOOST_AUTO_TEST_CASE(a_loss_that_is_no_scalar_is_refused) {
  const Small small;
  Collector values;
  GradientCollector grads;
  BOOST_CHECK_THROW(evaluate_with_gradient(small.graph, small.bindings, small.z.id, values, grads),
                    InternalError);
}

// No weight on the way: nothing to differentiate, and nothing to fall over.
BOOST_AUTO_TEST_CASE(a_loss_without_weights_has_no_gradients) {
  Graph graph;
  const Node z = graph.input("z", {1, 2, 2}, "BTD"), labels = graph.input("labels", {1, 2}, "BT");
  const Node loss = graph.name(cross_entropy(z, labels), "loss");
  Collector values;
  GradientCollector grads;
  evaluate_with_gradient(graph, bind_values({{"z", {1, 2, 3, 4}}, {"labels", {0, 1}}}), loss.id,
                         values, grads);
  BOOST_TEST(grads.gradients.empty());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
