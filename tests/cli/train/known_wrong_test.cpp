// The forms that a study trains though they are known to be wrong are the planted defects of the
// same names, and nothing else; methods without such a form are told so.
#include "cli/train/known_wrong.h"

#include <boost/test/unit_test.hpp>

#include "golden/contract/error.h"
#include "reference/methods/registry.h"
#include "reference/ops/mask.h"
#include "reference/training/trainer.h"
#include "tests/mutants/mutant.h"
#include "verify/leakage/structural.h"

namespace {

using namespace assay;
using reference::BuildGraph;

constexpr int64_t kRows = 2, kPositions = 9;

golden::ModelConfig config_of(const std::string& method) {
  golden::ModelConfig config = golden::preset("tiny");
  config.method = method;
  return config;
}

BuildGraph known_wrong(const std::string& name) {
  return [name](const golden::ModelConfig& config, int64_t batch, int64_t positions) {
    return cli::build_known_wrong(name, config, batch, positions);
  };
}

BuildGraph planted(const mutants::Replace& replace) {
  return [replace](const golden::ModelConfig& config, int64_t batch, int64_t positions) {
    return mutants::rewrite(*reference::build_model(config, batch, positions), replace);
  };
}

reference::TrainingStep step_of(const golden::ModelConfig& config, const BuildGraph& build,
                                reference::Keep keep = reference::Keep::all) {
  const std::vector<int32_t> tokens =
      golden::synthetic_tokens(config.vocab_size, kRows, kPositions, 5);
  reference::Trainer trainer(config, golden::SyntheticWeights(config, 3), {}, keep, {}, build);
  trainer.accumulate({kRows, kPositions, tokens, {}, tokens});
  return trainer.step(0.01);
}

bool same(const reference::TrainingStep& a, const reference::TrainingStep& b) {
  return a.loss == b.loss && a.gradient_norm == b.gradient_norm;
}

void compare(const std::string& name, const mutants::Mutant& mutant) {
  const golden::ModelConfig config = config_of(mutant.method);
  const auto wrong = step_of(config, known_wrong(name));
  BOOST_TEST(same(wrong, step_of(config, planted(mutant.replace))), name << " " << mutant.method);
  BOOST_TEST(!same(wrong, step_of(config, {})), name << " " << mutant.method);
  BOOST_TEST(same(wrong, step_of(config, known_wrong(name), reference::Keep::inputs)));
  const auto proof =
      verify::prove_causality(*cli::build_known_wrong(name, config, kRows, kPositions));
  BOOST_TEST(proof.leaks == (name == "lost-mask"));
}

std::string complaint_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const InputError& error) {
    return error.what();
  }
  return "none";
}

}  // namespace

BOOST_AUTO_TEST_CASE(they_are_the_planted_defects) {
  for (const char* method : {"plain", "1", "5.1"}) compare("lost-mask", mutants::lost_mask(method));
  mutants::Mutant again = mutants::re_softmax();
  for (const char* method : {"1", "2", "3.2", "4.1", "1-plan-a"}) {
    again.method = method;
    compare("re-softmax", again);
  }
  BOOST_TEST(cli::known_wrong_names() == (std::vector<std::string>{"lost-mask", "re-softmax"}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_second_softmax_keeps_the_window) {
  golden::ModelConfig config = config_of("1-plan-b");
  config.window = 4;
  config.sink_tokens = 1;
  const auto graph = cli::build_known_wrong("re-softmax", config, kRows, kPositions);
  int64_t masks = 0;
  for (const reference::NodeData& node : graph->nodes()) {
    if (node.op == nullptr) continue;
    const reference::KeyWindow* keys = reference::key_window_of(*node.op);
    if (keys == nullptr) continue;
    BOOST_TEST(keys->window == 4);
    BOOST_TEST(keys->sinks == 1);
    ++masks;
  }
  BOOST_TEST(masks == 3 + 3);  // of three layers, and of 0 + 1 + 2 recomputes
}

BOOST_AUTO_TEST_CASE(what_cannot_be_is_refused) {
  const auto build = [](const std::string& method, const std::string& name) {
    return complaint_of(
        [&] { cli::build_known_wrong(name, config_of(method), kRows, kPositions); });
  };
  BOOST_TEST(build("plain", "re-softmax").starts_with("re-softmax: method plain"));
  BOOST_TEST(build("5.1", "re-softmax").starts_with("re-softmax: method 5.1"));
  BOOST_TEST(build("pt", "lost-mask").starts_with("lost-mask: method pt"));
  BOOST_CHECK_THROW(build("1", "no-mask"), InternalError);
  const golden::ModelConfig config = config_of("1");
  const std::string dropout = complaint_of([&] {
    reference::Trainer(config, golden::SyntheticWeights(config, 3), {}, reference::Keep::all,
                       {.rate = 0.1, .seed = 1}, known_wrong("re-softmax"));
  });
  BOOST_TEST(dropout.starts_with("trainer: dropout"), dropout);
}
