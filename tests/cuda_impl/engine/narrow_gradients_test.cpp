// Gradients in the types of tensor cores, of models whose heads have a size that these take.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>

#include "models.h"
#include "recorder.h"

using namespace assay;
using namespace assay::engine_test;
using golden::ModelConfig;
using golden::Precision;

namespace {

using Gradients = std::map<std::string, std::vector<double>>;

Gradients gradients_of(const ModelConfig& config, Precision precision, const Tokens& tokens) {
  Gradients all;
  make(config, precision)
      ->gradients(tokens.view(), [&](const std::string& name, golden::TensorView gradient) {
        all[name].assign(gradient.values.begin(), gradient.values.end());
      });
  return all;
}

double distance(const Gradients& a, const Gradients& b) {
  double sum = 0;
  for (const auto& [name, values] : a) {
    const std::vector<double>& others = b.at(name);
    for (std::size_t i = 0; i < values.size(); ++i) {
      sum += (values[i] - others[i]) * (values[i] - others[i]);
    }
  }
  return std::sqrt(sum);
}

}  // namespace

// fp16 has three bits more than bf16: errors that are roundings are about 8 times smaller there, and
// any other error is as large in both.
BOOST_AUTO_TEST_CASE(errors_of_gradients_are_roundings) {
  const Tokens tokens(2, 12);
  std::vector<ModelConfig> all = windowed_models();
  for (const char* method : {"plain", "1", "2", "4.2"}) all.push_back(tiny(method));
  for (ModelConfig& config : all) {
    config.head_dim = 16;
    BOOST_TEST_INFO_SCOPE(text_of(config));
    const Gradients exact = gradients_of(config, Precision::fp64, tokens);
    const double bf16 = distance(gradients_of(config, Precision::bf16, tokens), exact);
    const double fp16 = distance(gradients_of(config, Precision::fp16, tokens), exact);
    BOOST_TEST_MESSAGE(text_of(config) << ": bf16 " << bf16 << ", fp16 " << fp16);
    BOOST_TEST(4 * fp16 < bf16);
  }
}
