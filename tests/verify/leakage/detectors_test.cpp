#include <boost/test/unit_test.hpp>
#include <cmath>

#include "tests/verify/leakage/fake_subject.h"

namespace assay::verify::fake {

// LEAK_DETECTORS: the names in verify/leakage/detectors.cmake, separated by spaces.
BOOST_AUTO_TEST_CASE(every_detector_that_is_compiled_is_in_the_list) {
  std::string names;
  for (const Detector& detector : detectors()) {
    names += (names.empty() ? "" : " ") + std::string(detector.name);
  }
  BOOST_TEST(names == LEAK_DETECTORS);
}

BOOST_AUTO_TEST_CASE(a_causal_subject_passes_every_detector) {
  const auto result =
      detect([](const Batch& x, int64_t b, int64_t t, int) { return causal(x, b, t); });
  BOOST_TEST(result.checks.size() == detectors().size());
  for (const Check& c : result.checks) {
    BOOST_TEST((c.status == Status::pass), c.name << ": " << c.summary);
  }
  BOOST_TEST(!result.leaks);
}

// A dump has said all it has to say: nothing is judged, and that is no pass.
BOOST_AUTO_TEST_CASE(a_subject_that_cannot_run_is_skipped) {
  struct Dump : Fake {
    using Fake::Fake;
    Capabilities capabilities() const override { return {}; }
  };
  Dump dump([](const Batch&, int64_t, int64_t, int) { return 0.0; });
  const LeakResult result = detect_leaks(dump, config(), batch());
  BOOST_TEST(result.runs == 0);
  BOOST_REQUIRE(result.checks.size() == 1u);
  BOOST_TEST((result.checks[0].status == Status::skipped));
  BOOST_TEST(result.checks[0].summary == "fake cannot run on other tokens");
  BOOST_TEST(exit_code(result.checks) == 3);
}

// NaN everywhere is bitwise equal to itself: it must not pass for causal.
BOOST_AUTO_TEST_CASE(nan_everywhere_is_not_a_pass) {
  const auto result = detect([](const Batch&, int64_t, int64_t, int) { return std::nan(""); });
  BOOST_TEST(exit_code(result.checks) == 1);
}

}  // namespace assay::verify::fake
