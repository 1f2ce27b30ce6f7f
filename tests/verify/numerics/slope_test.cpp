// Where every operation is rounded to bf16, an eps of 1e-3 for 1e-5, or a gain of 0.1 %, is inside
// of every element's bound and shows in the slope alone; right implementations have none.
#include <boost/test/unit_test.hpp>
#include <string>

#include "reference/methods/registry.h"
#include "tests/verify/numerics/fixture.h"

namespace assay::verify::testing {
namespace {

constexpr char kSlope[] = "numerics: slope";

const Check* slope_check_of(const NumericsResult& result) {
  for (const Check& check : result.checks) {
    if (check.name == kSlope) return &check;
  }
  return nullptr;
}

// What every element alone lets through.
void check_only_slope_fails(const NumericsResult& result, const std::string& at) {
  for (const Check& check : result.checks) {
    const Status due = check.name == kSlope ? Status::fail : Status::pass;
    BOOST_TEST((check.status == due), check.name << text_of(result));
  }
  BOOST_TEST(result.diverged == at, text_of(result));
  BOOST_TEST((row_of(result, at).status == Status::fail));
  BOOST_TEST(exit_code_of(result) == 1);
}

// Weights of which one vector is scaled.
class Scaled final : public golden::WeightSource {
 public:
  Scaled(const golden::WeightSource& inner, std::string name, double factor)
      : inner_(inner), name_(std::move(name)), factor_(factor) {}
  void read(const std::string& name, std::span<double> out) const override {
    inner_.read(name, out);
    if (name != name_) return;
    for (double& x : out) x *= factor_;
  }

 private:
  const golden::WeightSource& inner_;
  std::string name_;
  double factor_;
};

golden::PrecisionSchedule eager(Precision storage) {
  golden::PrecisionSchedule schedule = schedule_of(storage);
  schedule.eager = true;
  return schedule;
}

struct Norms {
  GoldenFixture golden{config_of("small", "plain"), 64};

  GraphSubject with_eps(double eps, Precision storage) const {
    golden::ModelConfig config = golden.reader().header().config;
    config.rms_norm_eps = eps;
    return {"eps", reference::build_model, config, golden.reader(), eager(storage)};
  }
  NumericsResult judge(Subject&& subject) const {
    return verify_numerics(golden.reader(), subject, {});
  }
};

BOOST_FIXTURE_TEST_SUITE(slope, Norms)

BOOST_AUTO_TEST_CASE(right_norms_have_none) {
  for (const double eps : {1e-5, 1.01e-5}) {
    const NumericsResult result = judge(with_eps(eps, Precision::bf16));
    const Check* check = slope_check_of(result);
    BOOST_REQUIRE(check != nullptr);
    BOOST_TEST((check->status == Status::pass), text_of(result));
    BOOST_TEST(check->summary.starts_with("0 of 9 checkpoints are a multiple"), check->summary);
  }
}

BOOST_AUTO_TEST_CASE(another_eps_shows_in_the_slope_alone) {
  check_only_slope_fails(judge(with_eps(1e-3, Precision::bf16)), "layers/0/attn_norm");
}

BOOST_AUTO_TEST_CASE(a_gain_of_a_thousandth_shows_in_the_slope_alone) {
  const Scaled weights(golden.reader(), "model.layers.2.input_layernorm.weight", 1.001);
  check_only_slope_fails(
      judge(GraphSubject("gain", reference::build_model, golden.reader().header().config, weights,
                         eager(Precision::bf16))),
      "layers/2/attn_norm");
}

// Where elements show it, in 32 bits, no slope is judged.
BOOST_AUTO_TEST_CASE(in_fp32_elements_show_it) {
  const NumericsResult result = judge(with_eps(1e-3, Precision::fp32));
  BOOST_TEST(slope_check_of(result) == nullptr);
  BOOST_TEST(row_of(result, "layers/0/attn_norm").local_outside > 0, text_of(result));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace assay::verify::testing
