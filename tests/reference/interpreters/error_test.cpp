// The error interpreter: rounding of stores, forcing, and a whole model against an emulated
// implementation.
#include "reference/interpreters/error.h"

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "golden/contract/precision.h"
#include "reference/methods/registry.h"
#include "reference/ops/add.h"
#include "reference/ops/scale.h"
#include "tests/reference/models.h"
#include "tests/reference/random.h"

namespace assay::reference::testing {
namespace {

using golden::Precision;
using golden::PrecisionSchedule;

constexpr uint64_t kSeed = 41;
constexpr PrecisionSchedule kFloat{Precision::fp32, Precision::fp32, true};
constexpr PrecisionSchedule kMixed{Precision::bf16, Precision::fp32, true};

struct Bounds : ErrorObserver {
  void observe(const NodeData& node, const Array& value, const Array& error) override {
    values[node.name] = {value.shape(), {value.values().begin(), value.values().end()}};
    errors[node.name] = {error.shape(), {error.values().begin(), error.values().end()}};
  }
  bool gives(const NodeData& node) override { return forced.contains(node.name); }
  std::pair<Array, Array> given(const NodeData& node) override {
    return {Array::copy_of(forced.at(node.name).shape, forced.at(node.name).values), Array()};
  }
  Tensors values, errors, forced;
};

// Rounds every named tensor to a precision and hands it on so: an implementation whose only errors
// are its stores.
struct Stores : Observer {
  Array observe(const NodeData& node, Array value) override {
    Array stored = Array::copy_of(value.shape(), value.values());
    const Precision precision = schedule.storage_of(node.name);
    for (double& x : stored.values()) x = golden::round_to(precision, x);
    tensors[node.name] = {stored.shape(), {stored.values().begin(), stored.values().end()}};
    return stored;
  }
  PrecisionSchedule schedule;
  Tensors tensors;
};

// y = 3 x, z = y + y, for one x.
struct Small {
  explicit Small(double value) : x(value) {
    const Node node = graph.input("x", {1}, "D");
    const Node y = graph.name(scale(node, 3), "y");
    graph.name(y + y, "z");
  }
  Bounds bounds(const PrecisionSchedule& schedule, ErrorNorm norm = ErrorNorm::worst) {
    Bounds result;
    result.forced = forced;
    const auto bindings = [this](const NodeData&) {
      return Array::copy_of({1}, std::vector<double>{x});
    };
    evaluate_with_error(graph, bindings, schedule, norm, result);
    return result;
  }
  Graph graph;
  double x;
  Tensors forced;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(error)

// 3x = 3 is exact, but its error is not known to be 0: two roundings of 2^-24 in the product, and a
// store of 2^-24 (3 + e). The sum of two equal errors doubles, and so on.
// y is given and nobody wants it: z starts from it, and what y is computed from is never bound.
BOOST_AUTO_TEST_CASE(what_is_given_is_not_computed) {
  struct OnlyZ : Bounds {
    bool wants(const NodeData& node) override { return node.name == "z"; }
  } only;
  only.forced["y"] = {{1}, {5.0}};
  const auto nothing = [](const NodeData& input) -> Array {
    throw std::logic_error(input.name + " was asked for");
  };
  Small small(1);
  evaluate_with_error(small.graph, nothing, kFloat, ErrorNorm::worst, only);
  BOOST_TEST(only.values.size() == 1u);
  BOOST_TEST(only.values.at("z").values.at(0) == 10);
}

BOOST_AUTO_TEST_CASE(a_store_adds_half_an_ulp_of_its_type) {
  const double u = 0x1p-24, least = 0x1p-150;
  const Bounds b = Small(1).bounds(kFloat);
  const double y = 2 * u * 3, stored = y + u * (3 + y) + least;
  const double z = 2 * stored + u * 6, sum = z + u * (6 + z) + least;
  BOOST_TEST(b.errors.at("y").values[0] == stored, boost::test_tools::tolerance(1e-15));
  BOOST_TEST(b.errors.at("z").values[0] == sum, boost::test_tools::tolerance(1e-15));
}

// With storage in bf16 the store is 2^-8, the arithmetic still 2^-24.
BOOST_AUTO_TEST_CASE(storage_and_accumulator_round_apart) {
  const double u = 0x1p-24, least = 0x1p-134;
  const Bounds b = Small(1).bounds(kMixed);
  const double y = 2 * u * 3, stored = y + 0x1p-8 * (3 + y) + least;
  BOOST_TEST(b.errors.at("y").values[0] == stored, boost::test_tools::tolerance(1e-15));
}

// Forced to 5, an exact float, y starts z from nothing: the first addition's rounding and a store.
BOOST_AUTO_TEST_CASE(a_forced_tensor_is_exact_for_what_follows) {
  Small small(1);
  small.forced["y"] = {{1}, {5}};
  const Bounds b = small.bounds(kFloat);
  const double u = 0x1p-24, z = u * 10;
  BOOST_TEST(b.values.at("z").values[0] == 10.0);
  BOOST_TEST(b.errors.at("z").values[0] == z + u * (10 + z) + 0x1p-150,
             boost::test_tools::tolerance(1e-15));
}

BOOST_AUTO_TEST_CASE(a_deviation_is_below_the_worst_case) {
  const Bounds worst = Small(1).bounds(kFloat);
  const Bounds deviation = Small(1).bounds(kFloat, ErrorNorm::deviation);
  BOOST_TEST(deviation.errors.at("z").values[0] > 0);
  BOOST_TEST(deviation.errors.at("z").values[0] < worst.errors.at("z").values[0]);
}

// Embedding rows are bf16 numbers and only moved: an implementation has no error there at all.
BOOST_AUTO_TEST_CASE(what_is_moved_and_representable_has_no_error) {
  const ModelConfig config = ragged_config("1");
  const Inputs inputs = random_inputs(config, 2, 5, kSeed, {2});
  const Bindings bindings = bind_model(inputs, synthetic_weights(config, kSeed));
  Bounds bounds;
  evaluate_with_error(*build_model(config, 2, 5), bindings, kMixed, ErrorNorm::worst, bounds);
  for (const double e : bounds.errors.at("embed").values) BOOST_TEST(e == 0.0);
  const Tensor& scores = bounds.values.at("layers/1/attn/scores");
  for (std::size_t i = 0; i < scores.values.size(); ++i) {
    if (std::isfinite(scores.values[i])) continue;
    BOOST_TEST(bounds.errors.at("layers/1/attn/scores").values[i] == 0.0);
  }
}

// Every tensor of an implementation that rounds what it stores stays within the bounds, and the
// values beside the bounds are the value interpreter's own.
BOOST_AUTO_TEST_CASE(worst_bounds_cover_an_implementation_that_rounds_its_stores) {
  for (const ModelConfig& config : every_method()) {
    for (const PrecisionSchedule& schedule : {kFloat, kMixed}) {
      const Inputs inputs = random_inputs(config, 2, 5, kSeed, {2});
      const Bindings bindings = bind_model(inputs, synthetic_weights(config, kSeed));
      const auto graph = build_model(config, 2, 5);
      Bounds bounds;
      evaluate_with_error(*graph, bindings, schedule, ErrorNorm::worst, bounds);
      Stores stores;
      stores.schedule = schedule;
      evaluate(*graph, bindings, stores);
      Collector exact;
      evaluate(*graph, bindings, exact);
      BOOST_TEST_CONTEXT(title(config) << ", " << golden::precision_name(schedule.storage)) {
        for (const auto& [name, golden] : exact.tensors) {
          BOOST_TEST(same_bits(bounds.values.at(name).values, golden.values), name);
          int64_t outside = 0;
          for (std::size_t i = 0; i < golden.values.size(); ++i) {
            const double got = stores.tensors.at(name).values[i], y = golden.values[i];
            const double e = got == y ? 0 : std::fabs(got - y);  // -inf too
            outside += !(e <= bounds.errors.at(name).values[i]);
          }
          BOOST_TEST(outside == 0, name);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
