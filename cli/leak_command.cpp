// assay prove and assay leak: what a method can see, and what an implementation does see.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "cli/command.h"
#include "cli/model_options.h"
#include "cli/subjects.h"
#include "golden/contract/weights.h"
#include "reference/methods/registry.h"
#include "verify/leakage/detectors.h"
#include "verify/leakage/structural.h"
#include "verify/report/report.h"

namespace assay::cli {
namespace {

verify::Check prove(const ModelOptions& options) {
  const auto graph =
      reference::build_model(model_config(options), options.batch, options.positions);
  return verify::prove_causality(*graph).check;
}

// The influence matrix as text: '.' nothing, a digit for the first layer, '!' for the future.
void print_influence(const verify::InfluenceMatrix& influence) {
  fmt::print(
      "\nwho sees whom (row: position, column: token it depends on; digit: first layer, 0 = "
      "embedding)\n");
  for (int64_t t = 0; t < influence.positions; ++t) {
    std::string row;
    for (int64_t s = 0; s < influence.positions; ++s) {
      const int layer =
          influence.first_layer[static_cast<std::size_t>(t * influence.positions + s)];
      row += layer < 0 ? '.' : s > t ? '!' : static_cast<char>('0' + std::min(layer, 9));
    }
    fmt::print("{:>4} {}\n", t, row);
  }
}

int leak(const ModelOptions& options, const std::string& subject_name, const std::string& precision,
         const Outcome& outcome) {
  const golden::ModelConfig config = model_config(options);
  const golden::SyntheticWeights weights(config, options.seed);
  const auto subject =
      make_subject(subject_name, golden::parse_precision(precision), config, weights);
  verify::Batch batch;
  batch.batch = options.batch;
  batch.positions = options.positions;
  batch.tokens = model_tokens(options, config);
  batch.labels = batch.tokens;
  batch.attention_mask.assign(batch.tokens.size(), 1);

  std::vector<verify::Check> checks{prove(options)};
  verify::LeakOptions prefix_options;
  prefix_options.seed = options.seed;
  const verify::LeakResult result = verify::detect_leaks(*subject, config, batch, prefix_options);
  checks.insert(checks.end(), result.checks.begin(), result.checks.end());
  fmt::print("method {}, [{},{}]; {}\n", config.method, options.batch, options.positions,
             subject->describe());
  for (const verify::Check& check : checks)
    fmt::print("{}", verify::check_text(check, outcome.colour));
  if (result.influence.positions <= 64) print_influence(result.influence);
  return verify::exit_code(checks);
}

}  // namespace

void add_prove(CLI::App& app, Outcome& outcome) {
  CLI::App* command =
      app.add_subcommand("prove", "prove causality of a method over its graph, for all inputs");
  auto options = std::make_shared<ModelOptions>();
  options->positions = 32;
  add_model_options(*command, *options);
  command->callback([options, &outcome] {
    const verify::Check check = prove(*options);
    fmt::print("{}", verify::check_text(check, outcome.colour));
    outcome.exit_code = verify::exit_code({check});
  });
}

void add_leak(CLI::App& app, Outcome& outcome) {
  CLI::App* command = app.add_subcommand("leak", "look for leaks with every detector there is");
  auto options = std::make_shared<ModelOptions>();
  auto subject = std::make_shared<std::string>("auto");
  auto precision = std::make_shared<std::string>("fp32");
  options->batch = 2;
  options->positions = 33;
  add_model_options(*command, *options);
  command->add_option("--subject", *subject, "simt, cuda or reference; auto: cuda with a GPU")
      ->capture_default_str();
  command->add_option("--precision", *precision, "fp32, bf16 or fp64")->capture_default_str();
  command->callback([options, subject, precision, &outcome] {
    outcome.exit_code = leak(*options, *subject, *precision, outcome);
  });
}

}  // namespace assay::cli
