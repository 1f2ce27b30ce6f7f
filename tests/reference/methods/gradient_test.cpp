// Gradients of the loss of whole models against central differences: of every weight and of every
// named activation, along random directions and in single elements.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <memory>

#include "golden/contract/names.h"
#include "reference/methods/registry.h"
#include "tests/reference/models.h"
#include "tests/reference/random.h"

namespace assay::reference::testing {
namespace {

constexpr uint64_t kSeed = 81;
constexpr int64_t kBatch = 2, kPositions = 4;

// Differences of order h^4: h = 2^-10 in a direction of length 1 leaves about h^4 = 1e-12 of the
// fifth derivative and 2^-52/h = 2e-13 of the loss, both against slopes of 1e-3 and more.
constexpr double kStep = 0x1p-10, kTolerance = 1e-7;
// The quotient's own rounding, for slopes that are 0: some units of a loss below 4, over h.
constexpr double kNoise = 0x1p-49 / kStep;

double slope(const std::function<double(double)>& f) {
  const double h = kStep;
  return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h);
}

// A random direction of length 1 that leaves alone what is -inf or 0 by definition.
std::vector<double> direction(const Tensor& at, const std::string& name) {
  std::vector<double> v = uniform(kSeed, "direction " + name, golden::element_count(at.shape));
  double squares = 0;
  for (std::size_t i = 0; i < v.size(); ++i) {
    if (!std::isfinite(at.values[i])) v[i] = 0;
    squares += v[i] * v[i];
  }
  for (double& x : v) x /= std::sqrt(squares);
  return v;
}

Tensor moved(Tensor at, const std::vector<double>& v, double by) {
  for (std::size_t i = 0; i < v.size(); ++i) at.values[i] += by * v[i];
  return at;
}

double inner(const std::vector<double>& x, const std::vector<double>& y) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

double length(const std::vector<double>& x) { return std::sqrt(inner(x, x)); }

// Without the residual at the attention a padded row is 0 where its norm reads it, and moves by
// 1/sqrt(eps) of any step there: too curved for differences.
std::vector<int64_t> padding(const ModelConfig& config) {
  const bool zero_rows = config.residual == golden::Residual::replace;
  return zero_rows ? std::vector<int64_t>{} : std::vector<int64_t>{0, 1};
}

struct Model {
  explicit Model(const ModelConfig& c)
      : config(c),
        inputs(random_inputs(c, kBatch, kPositions, kSeed, padding(c))),
        weights(synthetic_weights(c, kSeed)),
        graph(build_model(c, kBatch, kPositions)) {
    GradientCollector reverse;
    Collector forward;
    evaluate_with_gradient(*graph, bind_model(inputs, weights), graph->find("loss"), forward,
                           reverse);
    gradients = std::move(reverse.gradients);
    values = std::move(forward.tensors);
    held_weights = weights;
    held = hold_detached(*graph, values, held_weights);
  }
  // Zeros for what the loss does not read: in plan A the last layer's own attention.
  std::vector<double> gradient(const std::string& name, const Tensor& like) const {
    const auto found = gradients.find(name);
    return found == gradients.end() ? std::vector<double>(like.values.size(), 0.0)
                                    : found->second.values;
  }
  double loss_with_weight(const std::string& name, Tensor weight) const {
    Tensors changed = held_weights;
    changed[name] = std::move(weight);
    Collector collector;
    evaluate(*held, bind_model(inputs, changed), collector);
    return collector.tensors.at("loss").values[0];
  }
  double loss_with_forced(const std::string& name, Tensor tensor) const {
    Collector collector;
    collector.forced[name] = std::move(tensor);
    evaluate(*held, bind_model(inputs, held_weights), collector);
    return collector.tensors.at("loss").values[0];
  }

  ModelConfig config;
  Inputs inputs;
  Tensors weights;
  std::unique_ptr<Graph> graph;
  Tensors gradients, values;
  std::unique_ptr<Graph> held;  // the graph with detached tensors held, for differences
  Tensors held_weights;
};

// Whether the loss reads the weight at all, and its slope is not 0 by the formula.
bool has_slope(const ModelConfig& config, const std::string& name) {
  const std::string last = golden::layer_weight(config, config.num_hidden_layers - 1, "");
  const bool norm_before = config.norm == golden::NormPosition::pre;
  const bool own_attention =
      name.starts_with(last + "self_attn.") || name == last + "input_layernorm.weight" ||
      name.starts_with(last + "attn.") || (norm_before && name.starts_with(last + "ln_1."));
  if (config.method == "1-plan-a" && own_attention) return false;
  const std::string first = golden::layer_weight(config, 0, "self_attn.score.");
  if (config.method == "5.4" && name == first + "b") return false;  // 1^b
  if (name == first + "z") return false;                            // softmax of one number
  return config.method != "C-base" || !name.ends_with("score.c");
}

}  // namespace

BOOST_AUTO_TEST_SUITE(gradient)

BOOST_AUTO_TEST_CASE(every_weight_has_the_slope_of_the_loss) {
  for (ModelConfig config : every_method()) {
    for (const bool tied : {false, true}) {
      config.tie_word_embeddings = tied;
      const Model model(config);
      BOOST_TEST_CONTEXT(title(config) << (tied ? ", tied" : "")) {
        for (const auto& [name, weight] : model.weights) {
          const std::vector<double> g = model.gradient(name, weight);
          const std::vector<double> v = direction(weight, name);
          const double expected = slope([&, &at = name, &w = weight](double by) {
            return model.loss_with_weight(at, moved(w, v, by));
          });
          if (has_slope(config, name)) BOOST_TEST(length(g) > 1e-6, name);
          BOOST_TEST(std::fabs(inner(g, v) - expected) <= kTolerance * length(g) + kNoise, name);
        }
      }
    }
  }
}

// Forcing a tensor through the observer cuts it from what computes it: the slope is that of
// everything downstream, which is what the gradient of an activation means.
BOOST_AUTO_TEST_CASE(every_named_activation_has_the_slope_of_the_loss) {
  for (const ModelConfig& config : every_method()) {
    const Model model(config);
    BOOST_TEST_CONTEXT(title(config)) {
      for (const golden::TensorInfo& info : golden::tensor_list(config, kBatch, kPositions)) {
        if (info.name == "loss") continue;
        const Tensor& at = model.values.at(info.name);
        const std::vector<double> g = model.gradient(info.name, at);
        const std::vector<double> v = direction(at, info.name);
        const double expected =
            slope([&](double by) { return model.loss_with_forced(info.name, moved(at, v, by)); });
        BOOST_TEST(std::fabs(inner(g, v) - expected) <= kTolerance * length(g) + kNoise, info.name);
      }
    }
  }
}

// The largest element of some gradients, each alone: a direction could hide a permutation.
BOOST_AUTO_TEST_CASE(single_elements_of_weights_have_the_slope_of_the_loss) {
  for (const ModelConfig& config : every_method()) {
    const Model model(config);
    BOOST_TEST_CONTEXT(title(config)) {
      for (const auto& [name, weight] : model.weights) {
        const std::vector<double> g = model.gradient(name, weight);
        std::size_t largest = 0;
        for (std::size_t i = 0; i < g.size(); ++i) {
          if (std::fabs(g[i]) > std::fabs(g[largest])) largest = i;
        }
        std::vector<double> unit(g.size(), 0.0);
        unit[largest] = 1;
        const double expected = slope([&, &at = name, &w = weight](double by) {
          return model.loss_with_weight(at, moved(w, unit, by));
        });
        BOOST_TEST(std::fabs(g[largest] - expected) <= kTolerance * length(g) + kNoise, name);
      }
    }
  }
}

// Gradients flow through stored probabilities and stored scores into the layers that made them: in
// method 1 the last layer's recompute reaches layer 0's queries.
BOOST_AUTO_TEST_CASE(gradients_reach_the_queries_behind_what_is_stored) {
  for (const std::string method : {"1", "5.1"}) {
    const Model model(ragged_config(method));
    const Model plain(ragged_config("plain"));
    const auto& with = model.gradients.at("layers/0/attn/q").values;
    const auto& without = plain.gradients.at("layers/0/attn/q").values;
    BOOST_TEST(relative_error(with, without) > 1e-2, method);
  }
}

// Detached, nothing flows through what is stored: the values are those of the method itself, bit
// for bit, and the queries get other gradients. Plan B is method 2 in that form.
BOOST_AUTO_TEST_CASE(detaching_changes_gradients_and_no_value) {
  int compared = 0;
  for (const ModelConfig& config : every_method()) {
    if (!config.detach_stored) continue;
    ModelConfig attached = config;
    attached.detach_stored = false;
    const Model without(attached), with(config);
    BOOST_TEST_CONTEXT(title(config)) {
      for (const auto& [name, tensor] : without.values) {
        BOOST_TEST(same_bits(with.values.at(name).values, tensor.values), name);
      }
      BOOST_TEST(relative_error(with.gradients.at("layers/0/attn/q").values,
                                without.gradients.at("layers/0/attn/q").values) > 1e-2);
    }
    ++compared;
  }
  BOOST_TEST(compared == 3 * 6);  // 1, 2, 3.1, 3.2, 4.1, 4.2, on each of three blocks
}

BOOST_AUTO_TEST_CASE(plan_b_is_method_2_detached) {
  ModelConfig config = ragged_config("2");
  const Model attached(config);
  config.detach_stored = true;
  const Model detached(config), plan(ragged_config("1-plan-b"));
  for (const auto& [name, tensor] : attached.values) {
    BOOST_TEST(same_bits(plan.values.at(name).values, tensor.values), name);
  }
  for (const auto& [name, gradient] : detached.gradients) {
    BOOST_TEST(same_bits(plan.gradients.at(name).values, gradient.values), name);
  }
  BOOST_TEST(relative_error(plan.gradients.at("layers/0/attn/q").values,
                            attached.gradients.at("layers/0/attn/q").values) > 1e-2);
}

// The softmax removes what is constant along a row: rounding is left, 2^-53 of terms below 1.
BOOST_AUTO_TEST_CASE(c_base_has_no_gradient_in_its_offset) {
  ModelConfig config = ragged_config("C-base");
  config.score_positions = kPositions;
  const Model model(config);
  for (int64_t l = 0; l < model.config.num_hidden_layers; ++l) {
    const std::string score = "model.layers." + std::to_string(l) + ".self_attn.score.";
    for (const double g : model.gradients.at(score + "c").values) {
      BOOST_TEST(std::fabs(g) <= 0x1p-50);
    }
    BOOST_TEST(length(model.gradients.at(score + "w").values) > 1e-4);
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
