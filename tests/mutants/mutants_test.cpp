// The campaign: every planted defect is detected, localised and, where it has a signature, named;
// its clean twin is accepted by the same checks; only those that see the future are called leaks.
#include <boost/test/unit_test.hpp>

#include <filesystem>

#include "golden/file/golden_file.h"
#include "golden/generate/generate.h"
#include "reference/methods/registry.h"
#include "tests/mutants/mutant.h"
#include "tests/mutants/stale_scores.h"
#include "verify/judge/numerics.h"
#include "verify/leakage/detectors.h"
#include "verify/leakage/structural.h"
#include "verify/subjects/bindings.h"
#include "verify/subjects/graph_subject.h"

namespace {

using namespace assay;
using verify::Status;

constexpr int64_t kPositions = 12;

golden::ModelConfig config_of(const std::string& method) {
  golden::ModelConfig config = golden::preset("tiny");
  config.method = method;
  if (method == "pt") {
    config.pt.causal_heads = true;
    config.pt.message = golden::ProbTransformer::Message::head;
  }
  return config;
}

// A golden file that is removed with its owner.
class GoldenCase {
 public:
  explicit GoldenCase(const std::string& method)
      : path_(std::filesystem::temp_directory_path() /
              ("assay-mutants-" + method + "-" + std::to_string(getpid()) + ".h5")) {
    golden::GenerateRequest request;
    request.config = config_of(method);
    request.batch = 2;
    request.positions = kPositions;
    request.tokens =
        golden::synthetic_tokens(request.config.vocab_size, 2, kPositions, request.seed);
    request.out = path_;
    request.force = true;
    golden::generate(request);
    reader_ = std::make_unique<golden::GoldenReader>(path_);
  }
  ~GoldenCase() { std::filesystem::remove(path_); }

  const golden::GoldenReader& golden() const { return *reader_; }

 private:
  std::filesystem::path path_;
  std::unique_ptr<golden::GoldenReader> reader_;
};

golden::PrecisionSchedule schedule(golden::Precision storage) {
  return {.storage = storage,
          .accumulate = storage == golden::Precision::fp64 ? golden::Precision::fp64
                                                           : golden::Precision::fp32,
          .wide_attention = true};
}

verify::GraphSubject::Build build(const mutants::Mutant* mutant) {
  return [mutant](const golden::ModelConfig& config, int64_t batch, int64_t positions) {
    auto clean = reference::build_model(config, batch, positions);
    return mutant == nullptr ? std::move(clean) : mutants::rewrite(*clean, mutant->replace);
  };
}

bool all_pass(const std::vector<verify::Check>& checks) {
  bool pass = !checks.empty();
  for (const verify::Check& check : checks) {
    if (check.status == Status::pass) continue;
    BOOST_TEST_MESSAGE(check.name << " " << verify::status_name(check.status) << ": "
                                  << check.summary);
    pass = false;
  }
  return pass;
}

void judge_mutant(const mutants::Mutant& mutant, golden::Precision storage) {
  const GoldenCase file(mutant.method);
  const golden::ModelConfig config = config_of(mutant.method);
  verify::GraphSubject subject(mutant.id, build(&mutant), config, file.golden(), schedule(storage));

  const verify::NumericsResult numerics = verify::verify_numerics(file.golden(), subject, {});
  BOOST_TEST(verify::exit_code(numerics.checks) == 1);
  BOOST_TEST(numerics.diverged == mutant.first_divergence);
  BOOST_TEST_MESSAGE(mutant.id << " in method " << mutant.method << ": " << numerics.diverged
                               << "; " << numerics.diagnosis);
  if (!mutant.diagnosis.empty()) {
    BOOST_TEST(numerics.diagnosis.find(mutant.diagnosis) != std::string::npos, numerics.diagnosis);
  }

  const auto graph = build(&mutant)(config, 1, kPositions);
  const verify::ProofResult proof = verify::prove_causality(*graph);
  const verify::LeakResult prefix =
      verify::detect_leaks(subject, config, verify::read_batch(file.golden()));
  BOOST_TEST(proof.leaks == mutant.leaks);
  BOOST_TEST(prefix.leaks == mutant.leaks);
  if (!mutant.leaks) {
    BOOST_TEST((proof.check.status == Status::pass));
    BOOST_TEST(all_pass(prefix.checks));
    return;
  }
  BOOST_TEST_MESSAGE("  " << proof.check.summary);
  BOOST_TEST_MESSAGE("  leak at " << prefix.tensor << " (" << prefix.t << " <- " << prefix.s
                                  << ")");
  BOOST_TEST(proof.first.node.find(mutant.leak_at) != std::string::npos, proof.first.node);
  BOOST_TEST(proof.first.t == 0);
  BOOST_TEST(proof.first.s == 1);
  BOOST_TEST(proof.witness.size() >= 3u);
  BOOST_TEST(prefix.t == 0);
  BOOST_TEST(prefix.s == 1);
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_mutant_is_detected_localised_and_leaks_are_told_from_wrong_numbers) {
  for (const mutants::Mutant& mutant : mutants::all_mutants()) {
    for (const auto storage :
         {golden::Precision::fp64, golden::Precision::fp32, golden::Precision::bf16}) {
      BOOST_TEST_CONTEXT(mutant.id << " in method " << mutant.method << ", "
                                   << golden::precision_name(storage)) {
        judge_mutant(mutant, storage);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(every_clean_twin_is_accepted_by_every_check) {
  for (const std::string method : {"plain", "1", "5.1", "pt"}) {
    const GoldenCase file(method);
    const golden::ModelConfig config = config_of(method);
    for (const auto storage :
         {golden::Precision::fp64, golden::Precision::fp32, golden::Precision::bf16}) {
      BOOST_TEST_CONTEXT("method " << method << ", " << golden::precision_name(storage)) {
        verify::GraphSubject subject("clean twin", build(nullptr), config, file.golden(),
                                     schedule(storage));
        const auto numerics = verify::verify_numerics(file.golden(), subject, {});
        BOOST_TEST(all_pass(numerics.checks));
        const auto prefix =
            verify::detect_leaks(subject, config, verify::read_batch(file.golden()));
        BOOST_TEST(all_pass(prefix.checks));
        BOOST_TEST(!prefix.leaks);
      }
    }
    const auto graph = reference::build_model(config, 2, kPositions);
    BOOST_TEST((verify::prove_causality(*graph).check.status == Status::pass));
  }
}

// The first call is right, so only a second look can see it.
BOOST_AUTO_TEST_CASE(a_running_sum_that_survives_a_call_is_detected) {
  const GoldenCase file("5.1");
  const golden::ModelConfig config = config_of("5.1");
  mutants::StaleScores subject(config, file.golden());
  const verify::NumericsResult numerics = verify::verify_numerics(file.golden(), subject, {});
  BOOST_TEST(verify::exit_code(numerics.checks) == 1);
  BOOST_TEST(numerics.diverged == "layers/0/attn/scores");

  mutants::StaleScores again(config, file.golden());
  const verify::LeakResult prefix =
      verify::detect_leaks(again, config, verify::read_batch(file.golden()));
  BOOST_REQUIRE(prefix.checks.size() == 1u);
  BOOST_TEST((prefix.checks[0].status == Status::inconclusive));
  BOOST_TEST(prefix.checks[0].summary ==
             "two runs on one batch differ, first at layers/0/attn/scores");
}
