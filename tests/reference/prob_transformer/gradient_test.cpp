// Gradients of the loss with respect to every parameter of every variant, against differences.
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "reference/methods/registry.h"
#include "tests/reference/prob_transformer/variants.h"
#include "tests/reference/random.h"

namespace assay::reference::testing {
namespace {

constexpr uint64_t kSeed = 61;

// Differences of order h^4 along a direction of length 1: h = 2^-10 leaves about h^4 = 1e-12 of the
// fifth derivative and 2^-52/h = 2e-13 of the loss.
constexpr double kStep = 0x1p-10, kTolerance = 1e-8;

double loss_of(const Graph& graph, const Inputs& inputs, const Tensors& weights) {
  Collector collector;
  evaluate(graph, bind_model(inputs, weights), collector);
  return collector.tensors.at("loss").values[0];
}

}  // namespace

BOOST_AUTO_TEST_SUITE(gradient)

BOOST_AUTO_TEST_CASE(every_parameter_has_the_slope_of_the_loss) {
  for (const auto& [title, config] : pt_all_variants()) {
    const auto graph = build_model(config, 2, 6);
    const Inputs inputs = random_inputs(config, 2, 6, kSeed, {0, 1});
    const Tensors weights = synthetic_weights(config, kSeed);
    Collector forward;
    GradientCollector reverse;
    evaluate_with_gradient(*graph, bind_model(inputs, weights), graph->find("loss"), forward,
                           reverse);
    for (const auto& [name, weight] : weights) {
      BOOST_TEST_CONTEXT(title << ", " << name) {
        BOOST_REQUIRE(reverse.gradients.contains(name));
        const std::vector<double>& g = reverse.gradients.at(name).values;
        std::vector<double> v = uniform(kSeed, name, golden::element_count(weight.shape));
        double squares = 0, length = 0, stated = 0;
        for (const double x : v) squares += x * x;
        for (std::size_t i = 0; i < v.size(); ++i) {
          v[i] /= std::sqrt(squares);
          stated += g[i] * v[i];
          length += g[i] * g[i];
        }
        length = std::sqrt(length);
        const auto at = [&, &name = name](double by) {
          Tensors moved = weights;
          for (std::size_t i = 0; i < v.size(); ++i) moved.at(name).values[i] += by * v[i];
          return loss_of(*graph, inputs, moved);
        };
        const double h = kStep;
        const double slope = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
        BOOST_TEST(length > 0);
        BOOST_TEST(std::fabs(stated - slope) <= kTolerance * length, stated << ", " << slope);
      }
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
