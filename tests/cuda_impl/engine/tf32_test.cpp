// An engine in tf32 is one in fp32 whose gemms with weights, forward and backward, read their
// factors as tf32; one in fp32 never does. Nothing here has a tolerance: a factor of 1 or a single
// term shows what was read.
#include <algorithm>
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

// Of 24 significant bits, unlike the synthetic weights, which tf32 holds.
class Thirds final : public golden::WeightSource {
 public:
  explicit Thirds(const ModelConfig& config) : synthetic_(config, 7) {}
  void read(const std::string& name, std::span<double> values) const override {
    synthetic_.read(name, values);
    for (double& x : values) x = static_cast<float>(x / 3);
  }

 private:
  golden::SyntheticWeights synthetic_;
};

std::unique_ptr<cuda::Model> make_of_thirds(const ModelConfig& config, Precision precision) {
  return cuda::make_host_model(config, precision, Thirds(config));
}

Tensors gradients_of_thirds(const ModelConfig& config, Precision precision, const Tokens& tokens) {
  return gradients_of(*make_of_thirds(config, precision), tokens);
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
}

// Of 22 significant bits: a product of two tf32 numbers.
bool is_gemm_of_tf32(double x) {
  if (x == 0) return true;
  const double step = std::ldexp(1.0, std::ilogb(x) - 21);
  return std::nearbyint(x / step) * step == x;
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_schedule_says_that_factors_alone_are_tf32) {
  std::vector<ModelConfig> all = models();
  all.push_back(tiny("pt"));
  for (const ModelConfig& config : all) {
    const golden::PrecisionSchedule schedule = make(config, Precision::tf32)->precision();
    BOOST_TEST((schedule.storage == Precision::fp32));
    BOOST_TEST((schedule.accumulate == Precision::fp32));
    BOOST_TEST((schedule.operands == Precision::tf32));
    BOOST_TEST(!make(config, Precision::fp32)->precision().operands.has_value());
  }
}

// With a unit vector behind the last norm the logits are a column of the head, as it was read.
BOOST_AUTO_TEST_CASE(weights_are_read_as_tf32_in_tf32_alone) {
  const ModelConfig config = tiny("plain");
  const Tokens tokens(1, 3);
  golden::Tensor unit{{1, 3, 16}, std::vector<double>(48, 0.0)};
  unit.values[4] = 1.0;
  std::vector<double> head(11 * 16);
  Thirds(config).read("lm_head.weight", head);
  // x [N,D] W^T with one element of x: 1/3, which is no tf32 number either.
  golden::Tensor third = unit;
  third.values[4] = static_cast<float>(1.0 / 3);
  for (const Precision precision : {Precision::fp32, Precision::tf32}) {
    const auto read = [&](double x) { return golden::round_to(precision, x); };
    const auto model = make_of_thirds(config, precision);
    const Recorder one = record(*model, tokens, {{"final_norm", unit}});
    const Recorder scaled = record(*model, tokens, {{"final_norm", third}});
    for (std::size_t v = 0; v < 11; ++v) {
      const double weight = head[v * 16 + 4];
      BOOST_TEST(one["logits"][v] == read(weight));
      BOOST_TEST(scaled["logits"][v] == static_cast<float>(read(weight) * read(third.values[4])));
    }
  }
}

// What is between gemms is fp32's, bit for bit: norms, attention, activations, residuals.
BOOST_AUTO_TEST_CASE(everything_but_gemms_is_fp32) {
  const ModelConfig config = tiny("plain");
  const Tokens tokens(2, 7);
  const Recorder fp32 = record(*make_of_thirds(config, Precision::fp32), tokens);
  // fp32's tensors in place of every one: each is then computed from the same inputs.
  const Recorder tf32 = record(*make_of_thirds(config, Precision::tf32), tokens, fp32.seen);
  const char* gemms[] = {"attn/q",   "attn/k", "attn/v",  "attn/out",
                         "mlp/gate", "mlp/up", "mlp/out", "logits"};
  for (const std::string& name : fp32.order) {
    const bool is_product =
        std::ranges::any_of(gemms, [&](const char* gemm) { return name.ends_with(gemm); });
    BOOST_TEST((tf32[name] != fp32[name]) == is_product, name);
  }
}

// One counted position: the gradient of the head is a column times a row, of tf32 numbers each.
BOOST_AUTO_TEST_CASE(backward_gemms_read_tf32_in_tf32_alone) {
  const ModelConfig config = tiny("plain");
  const Tokens tokens(1, 2);
  const auto exact = [&](Precision precision) {
    const std::vector<double> head =
        gradients_of_thirds(config, precision, tokens).at("lm_head.weight").values;
    return std::ranges::count_if(head, is_gemm_of_tf32);
  };
  BOOST_TEST(exact(Precision::tf32) == 11 * 16);
  BOOST_TEST(exact(Precision::fp32) < 11 * 16 / 2);
}

// Further from fp64 than fp32 is, nearer than bf16: every weight behind a gemm, of every method.
BOOST_AUTO_TEST_CASE(gradients_in_tf32_lie_between_those_in_fp32_and_bf16) {
  const Tokens tokens(2, 7);
  std::vector<ModelConfig> all = models();
  all.push_back(tiny("pt"));
  for (const ModelConfig& config : all) {
    BOOST_TEST_INFO_SCOPE(text_of(config));
    const Tensors exact = gradients_of_thirds(config, Precision::fp64, tokens);
    std::map<Precision, double> error;
    for (const Precision p : {Precision::fp32, Precision::tf32, Precision::bf16}) {
      for (const auto& [name, gradient] : gradients_of_thirds(config, p, tokens)) {
        error[p] += distance(gradient.values, exact.at(name).values);
      }
    }
    BOOST_TEST(error[Precision::tf32] > 10 * error[Precision::fp32]);
    BOOST_TEST(error[Precision::tf32] < error[Precision::bf16]);
  }
}
