// Errors that go the same way: sampled ones grow where a token is repeated, and analysis of
// independent ones does not.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>

#include "reference/interpreters/error.h"
#include "tests/verify/numerics/fixture.h"
#include "verify/numerics/sampled_noise.h"

namespace assay::verify::testing {
namespace {

using reference::Array;
using reference::NodeData;

struct KeepErrors : reference::ErrorObserver {
  void observe(const NodeData& node, const Array&, const Array& error) override {
    errors[node.name] = error;
  }
  std::map<std::string, Array> errors;
};

double size_of(const Array& errors) {
  double sum = 0;
  for (const double e : errors.values()) sum += e * e;
  return std::sqrt(sum);
}

// How much wider the deviations of a checkpoint become, for a model of so many tokens.
double widening(int64_t vocabulary, const std::string& name) {
  golden::ModelConfig config = config_of("tiny", "plain");
  config.vocab_size = vocabulary;
  const GoldenFixture golden(config, 48);
  const golden::PrecisionSchedule schedule = schedule_of(Precision::bf16);
  const Case file(golden.reader(), "");
  KeepErrors observer;
  reference::evaluate_with_error(*file.graph, file.bindings, schedule,
                                 reference::ErrorNorm::deviation, observer);
  GoldenValues values(golden.reader());
  SampledNoise noise(file, schedule, values);
  const Array wide = noise.widened(name, observer.errors.at(name));
  for (int64_t i = 0; i < wide.size(); ++i) {
    BOOST_REQUIRE(wide.data()[i] >= observer.errors.at(name).data()[i]);
  }
  return size_of(wide) / size_of(observer.errors.at(name));
}

BOOST_AUTO_TEST_SUITE(sampled_noise)

// Of two tokens, each stands at 24 of 48 positions: its value's error is averaged with itself.
BOOST_AUTO_TEST_CASE(repeated_tokens_err_alike) {
  for (const std::string name : {"layers/0/attn/context", "layers/1/mlp/out", "logits"}) {
    const double many = widening(256, name), two = widening(2, name);
    BOOST_TEST(two > 1.1 * many, name << ": " << two << " with 2 tokens, " << many << " with 256");
  }
}

BOOST_AUTO_TEST_CASE(the_same_every_time) {
  BOOST_TEST(widening(2, "layers/1/output") == widening(2, "layers/1/output"));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace assay::verify::testing
