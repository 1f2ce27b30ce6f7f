// The reference's own error: whole models in double against double-double.
#include "reference/interpreters/extended.h"

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "reference/methods/registry.h"
#include "tests/reference/models.h"

namespace assay::reference::testing {
namespace {

constexpr uint64_t kSeed = 141;

class Extended : public ExtendedObserver {
 public:
  void observe(const NodeData& node, const Array& high, const Array& low) override {
    high_[node.name] = {high.shape(), {high.values().begin(), high.values().end()}};
    low_[node.name] = {low.shape(), {low.values().begin(), low.values().end()}};
  }

  // max |value - (high + low)| / max |value| over finite elements; the others must be equal.
  double error_of(const std::string& name, const Tensor& value) const {
    const Tensor &high = high_.at(name), &low = low_.at(name);
    double error = 0, largest = 0;
    for (std::size_t i = 0; i < value.values.size(); ++i) {
      const double x = value.values[i];
      if (!std::isfinite(x)) {
        if (high.values[i] != x) return INFINITY;
        continue;
      }
      error = std::fmax(error, std::fabs((high.values[i] - x) + low.values[i]));
      largest = std::fmax(largest, std::fabs(x));
    }
    return error / largest;
  }
  std::size_t size() const { return high_.size(); }

 private:
  Tensors high_, low_;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(extended)

BOOST_AUTO_TEST_CASE(double_errs_by_less_than_2_to_the_minus_40_of_each_tensors_maximum) {
  for (const ModelConfig& config : every_method(4)) {
    BOOST_TEST_CONTEXT(title(config)) {
      const Inputs inputs = random_inputs(config, 2, 17, kSeed, {0, 3});
      const Tensors weights = synthetic_weights(config, kSeed);
      const Tensors values = run_model(config, inputs, weights);
      Extended exact;
      evaluate_extended(*build_model(config, 2, 17), bind_model(inputs, weights), exact);
      BOOST_TEST(exact.size() == values.size());
      int inexact = 0;
      for (const auto& [name, value] : values) {
        const double error = exact.error_of(name, value);
        BOOST_TEST(error <= 0x1p-40, name << ": " << error);
        inexact += error > 0;
      }
      // All but the embedding, what repeats it, and where no norm stands before them q, k and v of
      // layer 0 (short sums of products of bfloat16 numbers) have bits that doubles lose.
      BOOST_TEST(inexact >= static_cast<int>(values.size()) - 5);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
