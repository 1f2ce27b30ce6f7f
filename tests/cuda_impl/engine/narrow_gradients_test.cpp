// Gradients in the types of tensor cores, of models whose heads have a size that these take.
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "models.h"
#include "recorder.h"

using namespace assay;
using namespace assay::engine_test;
using golden::ModelConfig;
using golden::Precision;

namespace {

double distance(const Tensors& a, const Tensors& b) {
  double sum = 0;
  for (const auto& [name, gradient] : a) {
    const std::vector<double>& others = b.at(name).values;
    for (std::size_t i = 0; i < others.size(); ++i) {
      const double off = gradient.values[i] - others[i];
      sum += off * off;
    }
  }
  return std::sqrt(sum);
}

}  // namespace

// fp16 has three bits more than bf16: errors that are roundings are about 8 times smaller there,
// and any other error is as large in both.
BOOST_AUTO_TEST_CASE(errors_of_gradients_are_roundings) {
  const Tokens tokens(2, 12);
  std::vector<ModelConfig> all = windowed_models();
  for (const char* method : {"plain", "1", "2", "4.2"}) all.push_back(tiny(method));
  for (ModelConfig& config : all) {
    config.head_dim = 16;
    BOOST_TEST_INFO_SCOPE(text_of(config));
    const auto of = [&](Precision precision) {
      return gradients_of(*make(config, precision), tokens);
    };
    const Tensors exact = of(Precision::fp64);
    const double bf16 = distance(of(Precision::bf16), exact);
    const double fp16 = distance(of(Precision::fp16), exact);
    BOOST_TEST_MESSAGE(text_of(config) << ": bf16 " << bf16 << ", fp16 " << fp16);
    BOOST_TEST(4 * fp16 < bf16);
  }
}
