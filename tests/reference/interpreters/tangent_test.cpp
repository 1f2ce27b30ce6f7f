// Forward-mode differentiation of whole models, against the reverse mode: <y, J v> = <J^T y, v>,
// with y the gradient of the loss. The tangent comes from the value rules alone, the gradient from
// rules written by hand.
#include "reference/interpreters/tangent.h"

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "reference/methods/registry.h"
#include "tests/reference/models.h"
#include "tests/reference/random.h"

namespace assay::reference::testing {
namespace {

constexpr uint64_t kSeed = 131;

struct Model {
  explicit Model(const ModelConfig& config)
      : inputs(random_inputs(config, 2, 5, kSeed, {0, 2})),
        weights(synthetic_weights(config, kSeed)),
        graph(build_model(config, 2, 5)) {
    Collector forward;
    GradientCollector reverse;
    evaluate_with_gradient(*graph, bind_model(inputs, weights), graph->find("loss"), forward,
                           reverse);
    values = std::move(forward.tensors);
    gradients = std::move(reverse.gradients);
  }

  Inputs inputs;
  Tensors weights, values, gradients;
  std::unique_ptr<Graph> graph;
};

// Moves the named tensors along the given directions.
class Push : public TangentObserver {
 public:
  explicit Push(Tensors along) : along_(std::move(along)) {}

  void observe(const NodeData& node, const Array& value, const Array& tangent) override {
    values[node.name] = {value.shape(), {value.values().begin(), value.values().end()}};
    tangents[node.name] = {tangent.shape(), {tangent.values().begin(), tangent.values().end()}};
  }
  Array direction(const NodeData& node) override {
    const auto found = along_.find(node.name);
    return found == along_.end() ? Array()
                                 : Array::copy_of(found->second.shape, found->second.values);
  }

  Tensors values, tangents;

 private:
  Tensors along_;
};

Tensor random_direction(const Tensor& at, const std::string& name) {
  Tensor v{at.shape, uniform(kSeed, name, golden::element_count(at.shape))};
  for (std::size_t i = 0; i < v.values.size(); ++i) {
    if (!std::isfinite(at.values[i])) v.values[i] = 0;
  }
  return v;
}

// |sum of terms - expected| relative to the sum of the terms' sizes.
double disagreement(const std::vector<double>& terms, double expected) {
  double sum = 0, size = 0;
  for (const double term : terms) {
    sum += term;
    size += std::fabs(term);
  }
  return std::fabs(sum - expected) / size;
}

std::vector<double> products(const Tensor& x, const Tensor& y) {
  std::vector<double> terms;
  for (std::size_t i = 0; i < x.values.size(); ++i) terms.push_back(x.values[i] * y.values[i]);
  return terms;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(tangent)

BOOST_AUTO_TEST_CASE(moving_every_weight_moves_the_loss_by_its_gradient) {
  for (const ModelConfig& config : every_method()) {
    BOOST_TEST_CONTEXT(title(config)) {
      const Model model(config);
      Tensors along;
      std::vector<double> terms;
      for (const auto& [name, weight] : model.weights) {
        along[name] = random_direction(weight, name);
        const auto gradient = model.gradients.find(name);
        if (gradient == model.gradients.end()) continue;  // no way from this weight to the loss
        const std::vector<double> own = products(gradient->second, along[name]);
        terms.insert(terms.end(), own.begin(), own.end());
      }
      Push push(along);
      evaluate_with_tangent(*model.graph, bind_model(model.inputs, model.weights), push);
      BOOST_TEST(disagreement(terms, push.tangents.at("loss").values[0]) <= 1e-12);
      for (const auto& [name, value] : model.values) {
        BOOST_TEST(same_bits(push.values.at(name).values, value.values), name);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(moving_one_tensor_on_the_way_moves_the_loss_by_its_gradient) {
  for (const ModelConfig& config : every_method()) {
    const Model model(config);
    for (const auto& [name, value] : model.values) {
      const auto gradient = model.gradients.find(name);
      if (gradient == model.gradients.end()) continue;
      BOOST_TEST_CONTEXT(title(config) << ", " << name) {
        const Tensor v = random_direction(value, name);
        Push push({{name, v}});
        evaluate_with_tangent(*model.graph, bind_model(model.inputs, model.weights), push);
        BOOST_TEST(disagreement(products(gradient->second, v),
                                push.tangents.at("loss").values[0]) <= 1e-12);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(nothing_moves_without_a_direction) {
  const Model model(ragged_config("1"));
  Push push({});
  evaluate_with_tangent(*model.graph, bind_model(model.inputs, model.weights), push);
  for (const auto& [name, tangent] : push.tangents) {
    for (const double x : tangent.values) BOOST_TEST(x == 0, name);
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
