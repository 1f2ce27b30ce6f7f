// A run that nobody looks into is judged by the one that was, bit for bit.
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "tests/verify/numerics/fixture.h"
#include "verify/judge/equality.h"

namespace assay::verify::testing {
namespace {

// The reference, whose results are others where nothing else is asked for: a joined operation, or a
// tile of logits, that is wrong.
class Joined : public Subject {
 public:
  using Change = std::function<void(Result result, golden::Tensor& value)>;
  Joined(GraphSubject inner, Change change)
      : inner_(std::move(inner)), change_(std::move(change)) {}

  std::string describe() const override { return "joined"; }
  Capabilities capabilities() const override {
    return {.can_run = true, .can_force = true, .can_run_untapped = true};
  }
  golden::PrecisionSchedule precision() const override { return inner_.precision(); }
  golden::DType dtype_of(const std::string& name) const override { return inner_.dtype_of(name); }
  void run(const Batch& batch, const Forced& forced, const Receive& receive) override {
    inner_.run(batch, forced, receive);
  }
  golden::Tensor run_untapped(const Batch& batch, Result result) override {
    golden::Tensor value;
    inner_.run(batch, {}, [&](Observed observed) {
      if (observed.name == (result == Result::logits ? "logits" : "loss")) {
        value = std::move(observed.tensor);
      }
    });
    change_(result, value);
    return value;
  }

 private:
  GraphSubject inner_;
  Change change_;
};

struct Judged {
  GoldenFixture golden{config_of("tiny", "plain")};

  NumericsResult judge(const Joined::Change& change, const std::string& pattern = "") const {
    Joined subject(golden.reference(Precision::fp64), change);
    return verify_numerics(golden.reader(), subject, {.pattern = pattern});
  }
};

BOOST_FIXTURE_TEST_SUITE(untapped, Judged)

BOOST_AUTO_TEST_CASE(the_same_results_pass) {
  const NumericsResult result = judge([](Result, golden::Tensor&) {});
  BOOST_TEST(exit_code_of(result) == 0, text_of(result));
  BOOST_TEST(result.checks.at(3).summary ==
             "logits and loss of a run without taps equal bit for bit those of the one that was "
             "judged");
}

// One bit of one element, in the loss alone or in the logits alone.
BOOST_AUTO_TEST_CASE(a_result_that_differs_by_a_bit_fails) {
  for (const Result wrong : {Result::logits, Result::loss}) {
    const auto change = [wrong](Result result, golden::Tensor& value) {
      if (result == wrong) value.values.back() = std::nextafter(value.values.back(), 1e9);
    };
    const NumericsResult result = judge(change);
    BOOST_TEST(exit_code_of(result) == 1, text_of(result));
    BOOST_TEST((result.checks.at(3).status == Status::fail));
    const std::string name = wrong == Result::logits ? "logits" : "loss";
    BOOST_TEST(result.checks.at(3).details.at(0).starts_with(name + ": differs where only it"));
    // It concerns no checkpoint, so it is looked at whatever was asked for.
    BOOST_TEST(exit_code_of(judge(change, "layers/0/attn/q")) == 1);
  }
}

BOOST_AUTO_TEST_CASE(equality_looks_at_it_too) {
  Joined subject(golden.reference(Precision::fp64),
                 [](Result, golden::Tensor& value) { value.values[0] += 1; });
  const NumericsResult result = verify_equality(golden.reader(), subject, {});
  BOOST_TEST(exit_code_of(result) == 1, text_of(result));
  BOOST_TEST(result.checks.back().name == "numerics: untapped");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace assay::verify::testing
