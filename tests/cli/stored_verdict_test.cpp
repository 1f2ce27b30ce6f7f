// What the judge makes of recomputes that read stored probabilities: they pass suite ci as what
// they are, and a wrong one does not. Gradients are left out: a backward pass stores none.
#include <boost/test/unit_test.hpp>

#include "cli/engine/engine_subject.h"
#include "cuda_impl/engine/interface/model.h"
#include "golden/contract/names.h"
#include "golden/file/golden_file.h"
#include "tests/cli/golden_cases.h"
#include "verify/judge/numerics.h"

namespace {

using namespace assay;
using cuda::Recompute;
using golden::Precision;
using verify::Status;

constexpr std::size_t kPlenty = std::size_t{1} << 30;
constexpr Precision kJudged[] = {Precision::fp64, Precision::fp32, Precision::bf16};

cli::EngineSubject subject_of(const golden::GoldenReader& golden, Precision precision,
                              const cuda::ModelOptions& options) {
  return {"simt", cuda::make_host_model(golden.header().config, precision, golden, options),
          options};
}

// An engine whose recomputed contexts are a fifth too large.
class Faulty final : public verify::Subject {
 public:
  Faulty(const golden::GoldenReader& golden, Precision precision)
      : engine_(subject_of(golden, precision, {.stored_bytes = kPlenty})) {}

  std::string describe() const override { return engine_.describe(); }
  verify::Capabilities capabilities() const override {
    verify::Capabilities can = engine_.capabilities();
    can.can_decode = false;
    return can;
  }
  golden::PrecisionSchedule precision() const override { return engine_.precision(); }
  golden::DType dtype_of(const std::string& name) const override { return engine_.dtype_of(name); }
  void run(const verify::Batch& batch, const verify::Forced& forced,
           const verify::Receive& receive) override {
    engine_.run(batch, forced, [&](verify::Observed observed) {
      if (golden::is_recomputed(observed.name) && observed.name.ends_with("/context")) {
        for (double& value : observed.tensor.values) {
          value = golden::round_to(precision().storage, 1.2 * value);
        }
      }
      receive(std::move(observed));
    });
  }
  golden::Tensor run_untapped(const verify::Batch& batch, verify::Result result) override {
    return engine_.run_untapped(batch, result);
  }

 private:
  cli::EngineSubject engine_;
};

// Every method that runs layers again, on every block and with a window.
template <class Check>
void for_cases(const Check& check) {
  verdict_test::for_cases(
      {"1-*-b2-*", "1-*-b3-*", "2-*", "3.*", "4.*"},
      [&](const std::string&, const golden::GoldenReader& golden) { check(golden); });
}

}  // namespace

BOOST_AUTO_TEST_CASE(an_engine_that_stores_probabilities_passes) {
  for_cases([](const golden::GoldenReader& golden) {
    for (const Precision precision : kJudged) {
      for (const Recompute recompute : {Recompute::each, Recompute::stacked}) {
        cli::EngineSubject subject =
            subject_of(golden, precision, {.recompute = recompute, .stored_bytes = kPlenty});
        const verify::NumericsResult result =
            verify::verify_numerics(golden, subject, {.left_out = {"grad/*"}});
        BOOST_TEST((verify::overall(result.checks) == Status::pass),
                   golden::precision_name(precision) << " diverged at " << result.diverged);
        for (const verify::CheckpointRow& row : result.rows) {
          BOOST_TEST(row.compared, row.name);
          BOOST_TEST(row.local_compared, row.name);
        }
      }
    }
  });
}

// Narrow types alone round them; attention on tensor cores does so without storing.
BOOST_AUTO_TEST_CASE(it_says_where_it_rounds_probabilities) {
  for_cases([](const golden::GoldenReader& golden) {
    for (const Precision precision : kJudged) {
      const auto rounds = [&](std::size_t bytes) {
        return subject_of(golden, precision, {.stored_bytes = bytes}).precision().narrow_probs;
      };
      BOOST_TEST(rounds(kPlenty) == (precision == Precision::bf16 || rounds(0)));
    }
  });
}

BOOST_AUTO_TEST_CASE(a_wrong_context_fails) {
  for_cases([](const golden::GoldenReader& golden) {
    for (const Precision precision : kJudged) {
      Faulty subject(golden, precision);
      const auto result =
          verify::verify_numerics(golden, subject, {.left_out = {"grad/*"}, .diagnose = false});
      BOOST_TEST((result.checks[2].status == Status::fail));
      BOOST_TEST(result.diverged.ends_with("/context"), result.diverged);
    }
  });
}
