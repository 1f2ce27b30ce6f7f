// What the engine's passes take in device memory: the figures that the headers state.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>

#include "golden/contract/names.h"
#include "pass_bytes.h"

using namespace assay;
using namespace assay::engine_test;
using golden::ModelConfig;
using golden::Precision;

namespace {

// The numbers of all weights.
int64_t weight_count(const ModelConfig& config) {
  int64_t count = 0;
  for (const golden::TensorInfo& weight : golden::weight_list(config)) {
    count += golden::element_count(weight.shape);
  }
  return count;
}

}  // namespace

// A head of 3 positions at a time holds no [B,T,V], and changes nothing but the order in which the
// gradient of lm_head is summed over tiles.
BOOST_AUTO_TEST_CASE(the_head_in_tiles_equals_the_head_at_once) {
  const Tokens tokens(2, 10);
  const auto gradients_of = [&](cuda::Model& model, double& loss) {
    std::map<std::string, std::vector<double>> all;
    loss = model.gradients(tokens.view(), [&](const std::string& name, golden::TensorView dw) {
      all[name].assign(dw.values.begin(), dw.values.end());
    });
    return all;
  };
  struct LossProbe final : cuda::Probe {
    double loss = 0;
    bool wants(const std::string& name) override { return name == "loss"; }
    void tap(const std::string&, golden::TensorView value) override { loss = value.values[0]; }
    bool force(const std::string&, std::span<double>) override { return false; }
  };
  for (const ModelConfig& config : {tiny("1"), tiny_gpt2("1", golden::NormPosition::pre)}) {
    BOOST_TEST_INFO_SCOPE(text_of(config));
    const golden::SyntheticWeights weights(config, 7);
    cuda::Transformer<double> whole(config, Precision::fp64, weights);
    cuda::Transformer<double> tiled(config, Precision::fp64, weights,
                                    {.head_bytes = 3 * 11 * sizeof(double)});
    double loss = 0, tiled_loss = 0;
    const auto expected = gradients_of(whole, loss), got = gradients_of(tiled, tiled_loss);
    BOOST_TEST(tiled_loss == loss);
    LossProbe tapped;
    tiled.forward(tokens.view(), &tapped);
    BOOST_TEST(tapped.loss == loss);
    for (const auto& [name, values] : expected) {
      double largest = 0, difference = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        largest = std::max(largest, std::fabs(values[i]));
        difference = std::max(difference, std::fabs(values[i] - got.at(name)[i]));
      }
      const bool summed = name == "lm_head.weight" || name == "transformer.wte.weight";
      BOOST_TEST(difference <= (summed ? 1e-14 * largest : 0.0), name);
    }
  }
  const auto forward_bytes = [&](std::size_t head_bytes) {
    const ModelConfig config = tiny("plain");
    cuda::Transformer<float> model(config, Precision::fp32, golden::SyntheticWeights(config, 7),
                                   {.head_bytes = head_bytes});
    model.forward(tokens.view(), nullptr);
    return static_cast<int64_t>(model.bytes());
  };
  BOOST_TEST(forward_bytes(1) + 19 * 11 * 4 <=
             forward_bytes(cuda::ModelOptions{}.head_bytes) + 256);  // alignment
}

// What a layer more costs, as engine/buffers.h and backward.h say; per position in fp32. No [T,T]
// array is in it.
BOOST_AUTO_TEST_CASE(memory_grows_with_layers_as_the_headers_say) {
  constexpr int64_t kB = 2, kT = 33;
  const Tokens tokens(kB, kT);
  const auto check = [&](const ModelConfig& three, bool backward, int64_t per_position,
                         const cuda::ModelOptions& options = {}) {
    BOOST_TEST_INFO_SCOPE(text_of(three) << (backward ? ", backward" : ""));
    ModelConfig four = three;
    four.num_hidden_layers = 4;
    const int64_t gradients = backward ? weight_count(four) - weight_count(three) : 0;
    const int64_t expected = 4 * (kB * kT * per_position + gradients);
    const auto growth = static_cast<int64_t>(bytes_of(four, tokens, options, backward)) -
                        static_cast<int64_t>(bytes_of(three, tokens, options, backward));
    const int64_t slack = 24 * 256;  // arrays begin at multiples of 256 bytes
    BOOST_TEST(growth <= expected + slack);
    BOOST_TEST(growth >= expected - slack);
  };
  constexpr int64_t kD = 16, kH = 4, kQ = kH * 6, kK = 2 * 6;
  check(tiny("plain"), false, 0);
  check(tiny("5.1"), false, kQ + kK);
  check(tiny("1"), false, kQ + kK + kH + kD);
  check(tiny("4.2"), false, kQ + kK + kH + kD);
  const cuda::ModelOptions stacked{.recompute = cuda::Recompute::stacked};
  constexpr int64_t kF = 24, kStack = 2 * kK + kQ;
  check(tiny("4.2"), false, kQ + kK + kH + kStack, stacked);
  check(tiny("1"), false, kQ + kK + kH + kStack + 2 * kD + 3 * kF, stacked);
  check(tiny_gpt2("1", golden::NormPosition::pre), false, kQ + kK + kH + kStack + 2 * kD + 2 * kF,
        stacked);
  constexpr int64_t kKept = 2 * kD + 2 * (kQ + kK) + kH, kQueryKeyGradients = kQ + kK;
  check(tiny("plain"), true, kKept);
  check(tiny_normed("plain"), false, 0);
  check(tiny_normed("plain"), true, kKept + kQ + kK);
  check(tiny("5.1"), true, kKept + kQueryKeyGradients);
  check(tiny("1"), true, kKept + kQueryKeyGradients + kD);
  check(tiny_gpt2("1", golden::NormPosition::post), true, kKept + kQueryKeyGradients + 2 * kD);
  constexpr int64_t kStackGradients = kK + kQ + kH, kMlpGradients = kF + 2 * kD + 2;
  check(tiny("4.1"), true, kKept + kQueryKeyGradients + kStack + kStackGradients, stacked);
  check(tiny("4.2"), true, kKept + kQueryKeyGradients + kStack + kStackGradients + 2 * kD, stacked);
  check(tiny("1"), true,
        kKept + kQueryKeyGradients + kStack + 2 * kD + 3 * kF + kStackGradients + kMlpGradients,
        stacked);
}
