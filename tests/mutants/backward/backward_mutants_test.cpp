// Every planted defect of a backward pass is found and localised, with every tensor's gradient at
// hand and with those of weights alone; the clean twins are accepted.
#include <boost/test/unit_test.hpp>

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <set>

#include "golden/file/golden_file.h"
#include "golden/generate/generate.h"
#include "reference/methods/registry.h"
#include "tests/mutants/backward/backward_mutants.h"
#include "tests/mutants/mutant.h"
#include "verify/judge/numerics.h"
#include "verify/subjects/graph_subject.h"

namespace {

using namespace assay;
using golden::Precision;
using mutants::BackwardMutant;
using verify::Status;

constexpr int64_t kBatch = 2, kPositions = 13;

// A golden file with gradients, in which some labels do not count; removed with its owner.
class GradientCase {
 public:
  explicit GradientCase(const golden::ModelConfig& config)
      : path_(std::filesystem::temp_directory_path() /
              fmt::format("assay-backward-{}.h5", getpid())) {
    golden::GenerateRequest request;
    request.config = config;
    request.batch = kBatch;
    request.positions = kPositions;
    request.tokens = golden::synthetic_tokens(config.vocab_size, kBatch, kPositions, request.seed);
    request.tokens[3] = request.tokens[1];  // a token that stands twice
    request.labels = request.tokens;
    request.labels[5] = request.labels[20] = -100;
    request.gradients = true;
    request.out = path_;
    request.force = true;
    golden::generate(request);
    reader_ = std::make_unique<golden::GoldenReader>(path_);
  }
  ~GradientCase() { std::filesystem::remove(path_); }

  const golden::GoldenReader& golden() const { return *reader_; }

 private:
  std::filesystem::path path_;
  std::unique_ptr<golden::GoldenReader> reader_;
};

// Which nodes of the graph a mutant changes, by their descriptions, is counted.
verify::GraphSubject::Build build_mutant(const BackwardMutant* mutant, int* planted) {
  return [=](const golden::ModelConfig& config, int64_t batch, int64_t positions) {
    auto clean = reference::build_model(config, batch, positions);
    if (mutant == nullptr) return clean;
    return mutants::rewrite(
        *clean,
        [&](mutants::Rewriting& rewriting, const reference::NodeData& node,
            const std::vector<reference::Node>& inputs) -> std::optional<reference::Node> {
          const auto id = static_cast<int>(&node - rewriting.original().nodes().data());
          const std::string at = rewriting.original().describe(id);
          if (node.op->name() != mutant->operation || !at.starts_with(mutant->at)) {
            return std::nullopt;
          }
          ++*planted;
          return rewriting.copy().add(mutants::with_gradient(node.op, mutant->rule), inputs);
        });
  };
}

// Gives the gradients of weights alone.
class OfWeights : public verify::GraphSubject {
 public:
  using GraphSubject::GraphSubject;
  void run_gradients(const verify::Batch& batch, const verify::Receive& receive) override {
    GraphSubject::run_gradients(batch, [&](verify::Observed observed) {
      const bool is_weight = observed.name.find(".weight") != std::string::npos ||
                             observed.name.find(".bias") != std::string::npos;
      if (is_weight) receive(std::move(observed));
    });
  }
};

template <class Subject>
verify::NumericsResult judged(const GradientCase& file, const BackwardMutant* mutant,
                              const golden::ModelConfig& config, Precision precision) {
  int planted = 0;
  Subject subject("mutant", build_mutant(mutant, &planted), config, file.golden(),
                  golden::usual_schedule(precision));
  verify::NumericsResult result =
      verify::verify_numerics(file.golden(), subject, {.diagnose = false});
  if (mutant != nullptr) BOOST_REQUIRE_MESSAGE(planted > 0, mutant->id << ": nowhere to plant it");
  return result;
}

bool tensors_pass(const verify::NumericsResult& result) {
  for (const verify::Check& check : result.checks) {
    if (check.name.starts_with("numerics") && check.status != Status::pass) return false;
  }
  return true;
}

void expect_found(const verify::NumericsResult& result, const std::string& first) {
  BOOST_TEST(verify::exit_code(result.checks) == 1);
  BOOST_TEST(tensors_pass(result));
  BOOST_TEST(result.diverged == verify::kGrad + first);
  for (const std::string& line : result.first_divergence) BOOST_TEST_MESSAGE("  " << line);
}

// found: or the marks of mutants::InBf16 say that it is not.
void expect_named(const verify::NumericsResult& result, const std::string& first, bool found) {
  if (found) return expect_found(result, first);
  BOOST_TEST(result.diverged != verify::kGrad + first);
}

void expect_clean(const verify::NumericsResult& result) {
  for (const verify::Check& check : result.checks) {
    BOOST_TEST((check.status == Status::pass), check.name << ": " << check.summary);
  }
  for (const verify::CheckpointRow& row : result.rows) {
    BOOST_TEST((row.status == Status::pass), row.name << ": " << row.note);
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_defect_of_a_backward_pass_is_found_and_named) {
  for (const BackwardMutant& mutant : mutants::backward_mutants()) {
    const GradientCase file(mutant.config);
    for (const Precision precision : {Precision::fp64, Precision::fp32, Precision::bf16}) {
      const bool narrow = precision == Precision::bf16;
      const bool hidden = narrow && mutant.in_bf16 == mutants::InBf16::hidden;
      const bool hidden_in_weights = hidden || (narrow && mutant.in_bf16 != mutants::InBf16::found);
      BOOST_TEST_CONTEXT(mutant.id << ", " << golden::precision_name(precision)) {
        BOOST_TEST_MESSAGE(mutant.id << ", " << golden::precision_name(precision));
        const auto whole = judged<verify::GraphSubject>(file, &mutant, mutant.config, precision);
        expect_named(whole, mutant.first, !hidden);
        const auto weights = judged<OfWeights>(file, &mutant, mutant.config, precision);
        expect_named(weights, mutant.first_weight, !hidden_in_weights);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(the_clean_twin_of_each_is_accepted) {
  std::set<std::string> done;
  for (const BackwardMutant& mutant : mutants::backward_mutants()) {
    if (!done.insert(golden::to_json(mutant.config)).second) continue;
    const GradientCase file(mutant.config);
    for (const Precision precision :
         {Precision::fp64, Precision::fp32, Precision::tf32, Precision::bf16}) {
      BOOST_TEST_CONTEXT(golden::to_json(mutant.config)
                         << ", " << golden::precision_name(precision)) {
        expect_clean(judged<verify::GraphSubject>(file, nullptr, mutant.config, precision));
        expect_clean(judged<OfWeights>(file, nullptr, mutant.config, precision));
      }
    }
  }
}
