// What the judge makes of tf32: an engine that reads factors as tf32 passes as what it is, and
// never as fp32, on every method and block of suite ci.
#include <boost/test/unit_test.hpp>

#include "cli/engine/engine_subject.h"
#include "cuda_impl/engine/interface/model.h"
#include "golden/file/golden_file.h"
#include "tests/cli/golden_cases.h"
#include "verify/judge/numerics.h"

namespace {

using namespace assay;
using golden::Precision;
using verify::Status;

// An engine in one precision that is judged under the schedule of another.
class Claims final : public verify::Subject {
 public:
  Claims(const golden::GoldenReader& golden, Precision precision, Precision claimed)
      : engine_("simt", cuda::make_host_model(golden.header().config, precision, golden)),
        claimed_(golden::usual_schedule(claimed)) {}

  std::string describe() const override { return engine_.describe(); }
  verify::Capabilities capabilities() const override {
    verify::Capabilities can = engine_.capabilities();
    can.can_decode = false;
    return can;
  }
  golden::PrecisionSchedule precision() const override { return claimed_; }
  golden::DType dtype_of(const std::string& name) const override { return engine_.dtype_of(name); }
  void run(const verify::Batch& batch, const verify::Forced& forced,
           const verify::Receive& receive) override {
    engine_.run(batch, forced, receive);
  }
  void run_gradients(const verify::Batch& batch, const verify::Receive& receive) override {
    engine_.run_gradients(batch, receive);
  }
  golden::Tensor run_untapped(const verify::Batch& batch, verify::Result result) override {
    return engine_.run_untapped(batch, result);
  }

 private:
  cli::EngineSubject engine_;
  golden::PrecisionSchedule claimed_;
};

struct Judged {
  Status ledger, free, local;
  bool all_pass = true;                    // of gradients too, where the file has them
  double free_ratio = 0, local_ratio = 0;  // the largest |error| / bound of all checkpoints
};

Judged judge(const golden::GoldenReader& golden, Precision precision, Precision claimed) {
  Claims subject(golden, precision, claimed);
  const verify::NumericsResult result =
      verify::verify_numerics(golden, subject, {.diagnose = false});
  BOOST_REQUIRE_EQUAL(result.checks.size(), golden.find("/grad/loss") != nullptr ? 7u : 4u);
  Judged judged{result.checks[0].status, result.checks[1].status, result.checks[2].status};
  for (const verify::Check& check : result.checks) {
    judged.all_pass = judged.all_pass && check.status == Status::pass;
  }
  for (const verify::CheckpointRow& row : result.rows) {
    judged.free_ratio = std::max(judged.free_ratio, row.free_ratio);
    judged.local_ratio = std::max(judged.local_ratio, row.local_ratio);
  }
  return judged;
}

template <class Check>
void for_cases(const Check& check) {
  const std::string pattern = "*-b2-*";
  BOOST_TEST(golden::selected(golden::load_suite("ci"), pattern).cases.size() >= 20u);
  verdict_test::for_cases({pattern}, check);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_tf32_engine_never_passes_as_fp32) {
  for_cases([](const std::string& name, const golden::GoldenReader& golden) {
    const Judged judged = judge(golden, Precision::tf32, Precision::fp32);
    BOOST_TEST_MESSAGE(name << ": error / bound " << judged.free_ratio << " free-running, "
                            << judged.local_ratio << " local");
    BOOST_TEST((judged.ledger == Status::pass));
    BOOST_TEST((judged.free == Status::fail));
    BOOST_TEST((judged.local == Status::fail));
  });
}

// The clean twin; and what is more exact than it says passes too.
BOOST_AUTO_TEST_CASE(tf32_and_fp32_engines_pass_as_tf32) {
  for_cases([](const std::string&, const golden::GoldenReader& golden) {
    for (const Precision precision : {Precision::tf32, Precision::fp32}) {
      const Judged judged = judge(golden, precision, Precision::tf32);
      BOOST_TEST((judged.ledger == Status::pass));
      BOOST_TEST((judged.free == Status::pass));
      BOOST_TEST((judged.local == Status::pass));
      BOOST_TEST(judged.all_pass);
    }
  });
}
