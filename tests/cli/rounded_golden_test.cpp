// Weights that the storage type does not hold: a subject that rounds them to nearest passes, one
// that truncates them or keeps them wider does not.
#include "cli/rounded_golden.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <string>

#include "cli/engine/engine_subject.h"
#include "cli/judge.h"
#include "cuda_impl/engine/interface/model.h"
#include "golden/contract/error.h"
#include "golden/contract/random.h"
#include "golden/generate/generate.h"
#include "tests/golden/sample.h"
#include "verify/judge/numerics.h"

namespace {

using namespace assay;
using golden::Precision;
using verify::Status;

// Drawn weights, each off by up to 2 %: numbers of float32, and hardly one of them of bf16 or fp16.
class TrainedLike final : public golden::WeightSource {
 public:
  explicit TrainedLike(const golden::ModelConfig& config, double factor = 1)
      : drawn_(config, 1), factor_(factor) {}
  void read(const std::string& name, std::span<double> out) const override {
    drawn_.read(name, out);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const double moved = out[i] * (1 + 0.02 * std::sin(static_cast<double>(i) + out[i]));
      out[i] = golden::round_to(Precision::fp32, factor_ * moved);
    }
  }

 private:
  golden::SyntheticWeights drawn_;
  double factor_;
};

// The weights of another source whose last bits in bf16 are dropped, not rounded.
class Truncated final : public golden::WeightSource {
 public:
  explicit Truncated(const golden::WeightSource& given) : given_(given) {}
  void read(const std::string& name, std::span<double> out) const override {
    given_.read(name, out);
    for (double& x : out) {
      const double nearest = golden::round_to(Precision::bf16, x);
      const double spacing = std::ldexp(1.0, std::ilogb(x) - 7);
      if (x != 0 && std::fabs(nearest) > std::fabs(x)) {
        x = golden::round_to(Precision::bf16, nearest - std::copysign(spacing, x));
      } else {
        x = nearest;
      }
    }
  }

 private:
  const golden::WeightSource& given_;
};

struct File {
  File(const std::string& method, golden::BlockKind block, double factor = 1) {
    config = golden::preset("tiny", block);
    config.method = method;
    const TrainedLike weights(config, factor);
    golden::GenerateRequest request;
    request.config = config;
    request.batch = 2;
    request.positions = 24;
    request.tokens = golden::synthetic_tokens(config.vocab_size, 2, 24, 1);
    request.weights = &weights;
    request.out = path;
    golden::generate(request);
  }

  golden::sample::TemporaryFolder folder;
  std::string path = folder.file("g.h5");
  golden::ModelConfig config;
};

verify::RunReport judged_by_name(const File& file, const std::string& subject,
                                 Precision precision) {
  cli::JudgeOptions options;
  options.golden_path = file.path;
  options.subject = subject;
  options.precision = precision;
  return cli::judge(options);
}

std::string text_of(const std::vector<verify::Check>& checks) {
  std::string text;
  for (const verify::Check& check : checks) {
    text += check.name + ": " + verify::status_name(check.status) + ": " + check.summary + "\n";
    for (const std::string& line : check.details) text += "    " + line + "\n";
  }
  return text;
}

// The engine in bf16 with weights of `loaded`.
std::vector<verify::Check> judged(const File& file, const golden::WeightSource& loaded) {
  const golden::GoldenReader golden(file.path);
  const auto rounded = cli::RoundedGolden::of(golden, Precision::bf16);
  BOOST_REQUIRE(rounded != nullptr);
  cli::EngineSubject subject("simt", cuda::make_host_model(file.config, Precision::bf16, loaded));
  return verify::verify_numerics(rounded->reader(), subject, {.diagnose = false}).checks;
}

}  // namespace

BOOST_AUTO_TEST_CASE(weights_that_are_rounded_when_loaded_pass) {
  for (const golden::BlockKind block : {golden::BlockKind::llama, golden::BlockKind::gpt2}) {
    for (const std::string method : {"plain", "1", "2", "3.2", "5.1", "5.5", "5.1E", "D-base"}) {
      const File file(method, block);
      for (const std::string subject : {"simt", "reference"}) {
        for (const Precision precision :
             {Precision::fp64, Precision::fp32, Precision::tf32, Precision::bf16}) {
          const verify::RunReport report = judged_by_name(file, subject, precision);
          BOOST_TEST(verify::exit_code(report.checks) == 0,
                     golden::block_name(block) << " " << method << " " << subject << " "
                                               << golden::precision_name(precision) << "\n"
                                               << text_of(report.checks));
          const bool narrow = precision == Precision::bf16;
          BOOST_TEST((report.checks.back().name == "weights") == narrow);
          BOOST_TEST(report.golden_path == file.path);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(weights_that_are_truncated_or_held_wider_fail) {
  for (const golden::BlockKind block : {golden::BlockKind::llama, golden::BlockKind::gpt2}) {
    const File file("plain", block);
    const golden::GoldenReader golden(file.path);
    const auto clean = judged(file, golden);
    BOOST_TEST(verify::exit_code(clean) == 0, text_of(clean));
    const auto checks = judged(file, Truncated(golden));
    BOOST_TEST(verify::exit_code(checks) == 1);
    BOOST_TEST((checks.at(2).status == Status::fail), text_of(checks));
  }
}

BOOST_AUTO_TEST_CASE(what_is_said_counts_the_weights) {
  const File file("plain", golden::BlockKind::llama);
  const verify::RunReport report = judged_by_name(file, "reference", Precision::bf16);
  const verify::Check& said = report.checks.back();
  BOOST_TEST(
      said.summary.find(" of 30 weights are no numbers of bf16, /weights/") != std::string::npos,
      said.summary);
  BOOST_TEST((cli::RoundedGolden::of(golden::GoldenReader(file.path), Precision::fp32) == nullptr));
}

BOOST_AUTO_TEST_CASE(a_weight_beyond_the_range_of_the_type_is_named) {
  const File file("plain", golden::BlockKind::llama, 1e5);
  const std::string said =
      golden::sample::complaint([&] { judged_by_name(file, "reference", Precision::fp16); });
  BOOST_TEST(said.find("is beyond the range of fp16") != std::string::npos, said);
}
