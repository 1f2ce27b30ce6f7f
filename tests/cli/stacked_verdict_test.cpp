// What the judge makes of a stacked recompute, which has no tensors below recompute/: it is judged
// on all the others, says what was not judged, and is let off nothing else.
#include <boost/test/unit_test.hpp>

#include "cli/engine/engine_subject.h"
#include "cuda_impl/engine/interface/model.h"
#include "golden/contract/names.h"
#include "golden/file/golden_file.h"
#include "tests/cli/golden_cases.h"
#include "verify/judge/numerics.h"

namespace {

using namespace assay;
using golden::Precision;
using verify::Status;

constexpr cuda::ModelOptions kStacked{.recompute = cuda::Recompute::stacked};

cli::EngineSubject stacked(const golden::GoldenReader& golden, Precision precision) {
  return {"simt", cuda::make_host_model(golden.header().config, precision, golden, kStacked),
          kStacked};
}

// A stacked engine with a fault of its report.
class Faulty final : public verify::Subject {
 public:
  enum class Fault { hides, changes_sum };
  Faulty(const golden::GoldenReader& golden, Precision precision, Fault fault)
      : engine_(stacked(golden, precision)), fault_(fault) {}

  std::string describe() const override { return engine_.describe(); }
  verify::Capabilities capabilities() const override {
    verify::Capabilities can = engine_.capabilities();
    can.can_decode = false;
    return can;
  }
  golden::PrecisionSchedule precision() const override { return engine_.precision(); }
  golden::DType dtype_of(const std::string& name) const override { return engine_.dtype_of(name); }
  bool computes(const std::string& name) const override {
    return fault_ == Fault::hides || engine_.computes(name);  // hides: claims what it does not have
  }
  void run(const verify::Batch& batch, const verify::Forced& forced,
           const verify::Receive& receive) override {
    engine_.run(batch, forced, [&](verify::Observed observed) {
      if (fault_ == Fault::changes_sum && observed.name.ends_with("/sum")) {
        for (double& value : observed.tensor.values) {
          value = golden::round_to(precision().storage, 1.2 * value);
        }
      }
      receive(std::move(observed));
    });
  }
  void run_gradients(const verify::Batch& batch, const verify::Receive& receive) override {
    engine_.run_gradients(batch, receive);
  }
  golden::Tensor run_untapped(const verify::Batch& batch, verify::Result result) override {
    return engine_.run_untapped(batch, result);
  }

 private:
  cli::EngineSubject engine_;
  Fault fault_;
};

Status status_of(const verify::NumericsResult& result) { return verify::overall(result.checks); }

template <class Check>
void for_cases(const Check& check) {
  verdict_test::for_cases(
      {"1-*-b2-*", "4.2-*-b2-*"},
      [&](const std::string&, const golden::GoldenReader& golden) { check(golden); });
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_stacked_engine_passes_and_says_what_was_not_judged) {
  for_cases([](const golden::GoldenReader& golden) {
    for (const Precision precision : {Precision::fp64, Precision::fp32, Precision::bf16}) {
      cli::EngineSubject subject = stacked(golden, precision);
      const verify::NumericsResult result = verify::verify_numerics(golden, subject, {});
      BOOST_TEST((status_of(result) == Status::pass));
      for (const std::string& line : result.first_divergence) BOOST_TEST_MESSAGE(line);
      BOOST_TEST(result.checks[0].summary.find("that the subject does not compute") !=
                 std::string::npos);
      for (const verify::CheckpointRow& row : result.rows) {
        BOOST_TEST(!golden::is_recomputed(row.name), row.name);
        BOOST_TEST(row.compared, row.name);
        BOOST_TEST(row.local_compared, row.name);
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(what_is_promised_and_missing_stays_a_fault) {
  for_cases([](const golden::GoldenReader& golden) {
    Faulty subject(golden, Precision::bf16, Faulty::Fault::hides);
    const auto result = verify::verify_numerics(golden, subject, {.diagnose = false});
    BOOST_TEST((result.checks[0].status == Status::fail));
  });
}

// Behind the gap the local view's worst case spans a whole recompute: in bf16 it lets this sum
// through, and the free-running view does not.
BOOST_AUTO_TEST_CASE(a_wrong_sum_fails) {
  for_cases([](const golden::GoldenReader& golden) {
    for (const Precision precision : {Precision::fp64, Precision::fp32, Precision::bf16}) {
      Faulty subject(golden, precision, Faulty::Fault::changes_sum);
      const auto result = verify::verify_numerics(golden, subject, {.diagnose = false});
      BOOST_TEST((result.checks[1].status == Status::fail));
      if (precision == Precision::bf16) continue;
      BOOST_TEST((result.checks[2].status == Status::fail));
      BOOST_TEST(result.diverged.ends_with("/sum"), result.diverged);
    }
  });
}
