// A batch that is run in other ways gives the golden values of its positions, and a token shows
// where it has to and nowhere else.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <memory>
#include <string>

#include "reference/methods/registry.h"
#include "tests/verify/numerics/fixture.h"
#include "verify/subjects/program.h"
#include "verify/subjects/reference_subject.h"
#include "verify/subjects/refusal.h"

namespace assay::verify::testing {
namespace {

constexpr int64_t kPositions = 13, kRows = 2;

// The reference; a test changes what comes out of a batch, or what it can.
class Changed : public Subject {
 public:
  explicit Changed(GraphSubject inner) : inner_(std::move(inner)) {}

  std::string describe() const override { return "changed"; }
  Capabilities capabilities() const override { return can; }
  golden::PrecisionSchedule precision() const override { return inner_.precision(); }
  golden::DType dtype_of(const std::string& name) const override { return inner_.dtype_of(name); }
  void run(const Batch& batch, const Forced& forced, const Receive& receive) override {
    if (refuses && refuses(batch)) throw SubjectRefusal("changed: not of this shape");
    inner_.run(batch, forced, [&](Observed observed) {
      if (change) change(batch, observed);
      receive(std::move(observed));
    });
  }
  void run_gradients(const Batch& batch, const Receive& receive) override {
    inner_.run_gradients(batch, receive);
  }
  std::vector<Checkpointed> checkpointed() const override { return forms; }

  Capabilities can{.can_run = true, .can_force = true, .reads_mask = true};
  std::function<void(const Batch& batch, Observed& observed)> change;
  std::function<bool(const Batch& batch)> refuses;
  std::vector<Checkpointed> forms;

 private:
  GraphSubject inner_;
};

golden::ModelConfig windowed(const std::string& method, int64_t window, int64_t sinks = 0) {
  golden::ModelConfig config = config_of("tiny", method);
  config.window = window;
  config.sink_tokens = sinks;
  return config;
}

struct Modes {
  explicit Modes(const golden::ModelConfig& of = config_of("tiny", "plain"))
      : config(of), golden(of, kPositions) {}

  Changed changed(Precision precision = Precision::fp32) const {
    return Changed(golden.reference(precision));
  }
  NumericsResult judge(Subject& subject) const {
    return verify_numerics(golden.reader(), subject, {.modes = true});
  }

  golden::ModelConfig config;
  GoldenFixture golden;
};

const Check& check_of(const NumericsResult& result, const std::string& name) {
  for (const Check& check : result.checks) {
    if (check.name == name) return check;
  }
  BOOST_FAIL("no check " + name + ": " + text_of(result));
  return result.checks.front();
}

bool has_check(const NumericsResult& result, const std::string& name) {
  return std::any_of(result.checks.begin(), result.checks.end(),
                     [&](const Check& check) { return check.name == name; });
}

void expect_only(const NumericsResult& result, const std::string& name,
                 const std::string& summary) {
  BOOST_TEST(exit_code_of(result) == 1, text_of(result));
  const Check& failed = check_of(result, name);
  BOOST_TEST((failed.status == Status::fail), text_of(result));
  BOOST_TEST(failed.summary.starts_with(summary), failed.summary);
  for (const Check& check : result.checks) {
    BOOST_TEST((check.status == Status::pass) == (check.name != name), check.name);
  }
}

// Of the named tensor every value of the rows that `of` says is a thousandth larger.
void enlarge(const Batch& batch, Observed& observed, const std::string& name,
             const std::function<bool(int64_t b)>& of) {
  if (observed.name != name) return;
  const std::size_t of_row = observed.tensor.values.size() / static_cast<std::size_t>(batch.batch);
  for (std::size_t i = 0; i < observed.tensor.values.size(); ++i) {
    double& x = observed.tensor.values[i];
    if (of(static_cast<int64_t>(i / of_row))) x = golden::round_to(Precision::fp32, 1.001 * x);
  }
}

BOOST_AUTO_TEST_CASE(what_runs_alike_in_every_way_passes) {
  for (const golden::ModelConfig& config : {config_of("tiny", "plain"), windowed("1", 5),
                                            windowed("5.1E", 4, 2), windowed("4.1", 3, 1)}) {
    const Modes modes(config);
    for (const Precision precision : {Precision::fp64, Precision::fp32, Precision::bf16}) {
      Changed subject = modes.changed(precision);
      const NumericsResult result = modes.judge(subject);
      BOOST_TEST(exit_code_of(result) == 0, text_of(result));
      for (const char* name :
           {"mode: length", "mode: rows", "mode: padding", "mode: sensitivity"}) {
        BOOST_TEST((check_of(result, name).status == Status::pass), name);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(the_reference_decodes_through_every_cache_and_with_less_kept) {
  for (const std::string method : {"plain", "1", "3.2", "5.8"}) {
    for (const int64_t window : {0, 5}) {
      const golden::ModelConfig config = windowed(method, window);
      const Modes modes(config);
      ReferenceSubject subject(config,
                               std::shared_ptr<const golden::WeightSource>(std::shared_ptr<void>(),
                                                                           &modes.golden.reader()),
                               schedule_of(Precision::fp32));
      const NumericsResult result = modes.judge(subject);
      BOOST_TEST(exit_code_of(result) == 0, text_of(result));
      const std::string& decoded = check_of(result, "numerics: decode").summary;
      const bool ring = decoded.find("through a ring") != std::string::npos;
      BOOST_TEST(ring == (window > 0), decoded);
      BOOST_TEST(decoded.find("through three tiers") != std::string::npos, decoded);
      BOOST_TEST(decoded.find("bit for bit") != std::string::npos, decoded);
      BOOST_TEST((check_of(result, "mode: checkpointed").status == Status::pass));
    }
  }
}

BOOST_AUTO_TEST_CASE(what_depends_on_the_length_is_found) {
  const Modes modes;
  Changed subject = modes.changed();
  subject.change = [](const Batch& batch, Observed& observed) {
    const bool is_short = batch.positions < kPositions;
    enlarge(batch, observed, "layers/1/attn/k", [&](int64_t) { return is_short; });
  };
  const NumericsResult result = modes.judge(subject);
  expect_only(result, "mode: length",
              "layers/1/attn/k is wrong at row 0, position 0 when it is run");
  BOOST_TEST(result.diverged == "layers/1/attn/k");
}

BOOST_AUTO_TEST_CASE(what_depends_on_other_rows_is_found) {
  const Modes modes;
  Changed subject = modes.changed();
  subject.change = [](const Batch& batch, Observed& observed) {
    enlarge(batch, observed, "logits", [&](int64_t b) { return b > 0 && batch.batch > kRows; });
  };
  expect_only(modes.judge(subject), "mode: rows", "logits is wrong at row 0, position 0 when");
}

BOOST_AUTO_TEST_CASE(padding_that_shows_is_found) {
  const Modes modes;
  Changed subject = modes.changed();
  subject.change = [](const Batch& batch, Observed& observed) {
    const bool is_long = batch.positions > kPositions;
    enlarge(batch, observed, "layers/0/output", [&](int64_t) { return is_long; });
  };
  expect_only(modes.judge(subject), "mode: padding", "layers/0/output is wrong at row 0");
}

// One further, one nearer, no sink: numbers differ too; what a token shows says which it is.
BOOST_AUTO_TEST_CASE(an_edge_of_a_window_that_is_off_by_one_is_told) {
  const Modes modes(windowed("plain", 5, 2));
  const auto told = [&](int64_t window, int64_t sinks) {
    const GraphSubject::Build build = [=](const golden::ModelConfig& given, int64_t B, int64_t T) {
      golden::ModelConfig config = given;
      config.window = window;
      config.sink_tokens = sinks;
      return reference::build_model(config, B, T);
    };
    GraphSubject subject = modes.golden.subject(build, Precision::fp32);
    const NumericsResult result = modes.judge(subject);
    const Check& check = check_of(result, "mode: sensitivity");
    BOOST_TEST((check.status == Status::fail), text_of(result));
    return check.summary;
  };
  BOOST_TEST(told(6, 2).find("which it must not see") != std::string::npos);
  BOOST_TEST(told(4, 2).find("does not change with token") != std::string::npos);
  BOOST_TEST(told(5, 1).find("does not change with token") != std::string::npos);
  BOOST_TEST(told(5, 3).find("which it must not see") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_runs_differently_each_time_is_not_judged_by_what_a_token_changes) {
  const Modes modes;
  Changed subject = modes.changed();
  int calls = 0;
  subject.change = [&](const Batch&, Observed& observed) {
    if (observed.name != "logits") return;
    const float towards = calls % 2 == 0 ? 9.f : -9.f;
    for (double& x : observed.tensor.values) x = std::nextafter(static_cast<float>(x), towards);
    ++calls;
  };
  const NumericsResult result = modes.judge(subject);
  BOOST_TEST((check_of(result, "mode: sensitivity").status == Status::inconclusive));
}

BOOST_AUTO_TEST_CASE(gradients_with_less_kept_have_to_have_the_same_bits) {
  const Modes modes;
  Changed subject = modes.changed();
  subject.can.can_grad = true;
  const auto form = [&](Precision precision) {
    return Checkpointed{"less kept", [&modes, precision] {
                          return std::make_unique<GraphSubject>(modes.golden.reference(precision));
                        }};
  };
  subject.forms = {form(Precision::fp32)};
  BOOST_TEST((check_of(modes.judge(subject), "mode: checkpointed").status == Status::pass));
  subject.forms = {form(Precision::fp32), form(Precision::bf16)};
  expect_only(modes.judge(subject), "mode: checkpointed", "with less kept: grad/");
  subject.forms = {{"less kept", []() -> std::unique_ptr<Subject> {
                      throw Unsupported("there is no such form");
                    }}};
  BOOST_TEST(!has_check(modes.judge(subject), "mode: checkpointed"));
}

BOOST_AUTO_TEST_CASE(a_shape_that_is_refused_is_said_and_the_others_count) {
  const Modes modes;
  Changed subject = modes.changed();
  subject.refuses = [](const Batch& batch) { return batch.positions == 1; };
  const NumericsResult result = modes.judge(subject);
  const Check& check = check_of(result, "mode: length");
  BOOST_TEST((check.status == Status::pass));
  BOOST_TEST(check.details.back() == "not tried: run on the first 1: changed: not of this shape");
  subject.refuses = [](const Batch& batch) { return batch.positions != kPositions; };
  BOOST_TEST((check_of(modes.judge(subject), "mode: length").status == Status::inconclusive));
}

BOOST_AUTO_TEST_CASE(a_program_of_one_shape_is_asked_for_no_other) {
  const Modes modes;
  Changed subject = modes.changed();
  subject.can.fixed_batch = kRows;
  subject.can.fixed_length = kPositions;
  subject.refuses = [](const Batch& batch) {
    return batch.positions != kPositions || batch.batch != kRows;
  };
  const NumericsResult result = modes.judge(subject);
  BOOST_TEST(exit_code_of(result) == 0, text_of(result));
  BOOST_TEST(!has_check(result, "mode: length"));
  BOOST_TEST(!has_check(result, "mode: padding"));
  BOOST_TEST((check_of(result, "mode: rows").status == Status::pass));
}

BOOST_AUTO_TEST_CASE(a_tensor_of_another_shape_fails) {
  const Modes modes;
  Changed subject = modes.changed();
  subject.change = [](const Batch& batch, Observed& observed) {
    if (batch.positions < kPositions && observed.name == "logits") observed.tensor.shape[1] = 99;
  };
  expect_only(modes.judge(subject), "mode: length",
              "logits of 2 rows of 1 positions: expected [2,1,");
}

// Nothing before a later word stands by itself where words hear from both sides.
BOOST_AUTO_TEST_CASE(a_model_that_hears_both_sides_has_no_lengths) {
  const Modes modes(config_of("tiny", "pt"));
  Changed subject = modes.changed();
  const NumericsResult result = modes.judge(subject);
  BOOST_TEST(exit_code_of(result) == 0, text_of(result));
  BOOST_TEST(!has_check(result, "mode: length"));
  BOOST_TEST((check_of(result, "mode: padding").status == Status::pass));
}

BOOST_AUTO_TEST_CASE(what_cannot_run_has_no_modes_and_that_is_no_pass) {
  const Modes modes;
  Changed subject = modes.changed();
  subject.can = {};
  const NumericsResult result = modes.judge(subject);
  BOOST_TEST((check_of(result, "modes").status == Status::skipped), text_of(result));
  BOOST_TEST(exit_code_of(result) == 3);
}

}  // namespace
}  // namespace assay::verify::testing
