// assay verify and assay compare: numerics, and with --leakage the detectors, in one report.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <optional>

#include "cli/command.h"
#include "cli/judge.h"
#include "cli/subjects.h"
#include "golden/exchange/checkpoint.h"
#include "golden/file/golden_file.h"
#include "reference/methods/registry.h"
#include "verify/judge/numerics.h"
#include "verify/leakage/detectors.h"
#include "verify/leakage/structural.h"
#include "verify/report/report.h"
#include "verify/subjects/bindings.h"

namespace assay::cli {
namespace {

struct VerifyOptions {
  std::string golden_path;
  std::string subject = "auto";
  std::string precision = "fp32";
  std::string pattern;
  std::string checkpoint;  // folder to take weights from; empty: as the golden file says
  std::vector<std::string> left_out;
  bool equal = false;
  bool leakage = false;
  int64_t leakage_positions = 40;
  std::string html_path, json_path, junit_path;
  bool quiet = false;
};

void add_report_options(CLI::App& command, VerifyOptions& options) {
  command
      .add_option("--precision", options.precision,
                  "storage type judged for: fp32, bf16, fp16, fp64, or tf32: fp32 whose products "
                  "read their factors as tf32")
      ->capture_default_str();
  command.add_option("--weights", options.checkpoint,
                     "folder with the checkpoint that the golden file was made from; needed where "
                     "the file has only hashes of it");
  command.add_option("--only", options.pattern, "checkpoints to compare, e.g. 'layers/3/*'");
  command.add_option("--leave-out", options.left_out, "checkpoints not to judge, e.g. loss");
  command.add_flag("--equal", options.equal,
                   "judge by equality with the golden values: for files of exact data");
  command.add_option("--report", options.html_path, "HTML report to write");
  command.add_option("--json", options.json_path, "JSON report to write");
  command.add_option("--junit", options.junit_path, "JUnit report to write");
  command.add_flag("--quiet", options.quiet, "print nothing but errors");
}

// The first positions of a batch: detectors run it once per position and need no long one.
verify::Batch shortened(const verify::Batch& batch, int64_t positions) {
  verify::Batch part;
  part.batch = batch.batch;
  part.positions = std::min(positions, batch.positions);
  for (int64_t b = 0; b < batch.batch; ++b) {
    for (int64_t t = 0; t < part.positions; ++t) {
      const auto i = static_cast<std::size_t>(b * batch.positions + t);
      part.tokens.push_back(batch.tokens[i]);
      part.attention_mask.push_back(batch.attention_mask[i]);
      part.labels.push_back(batch.labels[i]);
    }
  }
  return part;
}

void look_for_leaks(const VerifyOptions& options, const golden::GoldenReader& golden,
                    verify::Subject& subject, verify::RunReport& report) {
  const golden::ModelConfig& config = golden.header().config;
  const verify::Batch batch = shortened(verify::read_batch(golden), options.leakage_positions);
  const auto graph = reference::build_model(config, 1, std::min<int64_t>(batch.positions, 32));
  report.checks.push_back(verify::prove_causality(*graph).check);
  verify::LeakResult prefix = verify::detect_leaks(subject, config, batch);
  report.checks.insert(report.checks.end(), prefix.checks.begin(), prefix.checks.end());
  if (prefix.runs > 0) report.influence = std::move(prefix.influence);
}

int run_verify(const VerifyOptions& options, const Outcome& outcome) {
  golden::GoldenReader golden(options.golden_path);
  std::optional<golden::CheckpointWeights> checkpoint;
  if (!options.checkpoint.empty()) {
    checkpoint.emplace(options.checkpoint, golden.header().config);
    golden.weights_from(*checkpoint, options.checkpoint);
  }
  const auto subject = make_subject(options.subject, golden::parse_precision(options.precision),
                                    golden.header().config, golden);
  verify::NumericsOptions numerics_options;
  numerics_options.pattern = options.pattern;
  numerics_options.command = outcome.command_line.substr(0, outcome.command_line.find(" --only"));
  numerics_options.left_out = options.left_out;
  verify::RunReport report = judge(golden, *subject, numerics_options, options.equal);
  report.command_line = outcome.command_line;
  if (options.leakage) look_for_leaks(options, golden, *subject, report);

  if (!options.quiet) fmt::print("{}", verify::terminal_text(report, outcome.colour));
  if (!options.html_path.empty())
    verify::write_report(verify::html_text(report), options.html_path);
  if (!options.json_path.empty())
    verify::write_report(verify::json_text(report), options.json_path);
  if (!options.junit_path.empty())
    verify::write_report(verify::junit_text(report), options.junit_path);
  return verify::exit_code(report.checks);
}

}  // namespace

void add_verify(CLI::App& app, Outcome& outcome) {
  CLI::App* command = app.add_subcommand("verify", "judge a subject against a golden file");
  auto options = std::make_shared<VerifyOptions>();
  command->add_option("golden", options->golden_path, "golden file")->required();
  command
      ->add_option(
          "--subject", options->subject,
          "simt, cuda, reference, file:PATH; auto: cuda with a GPU, else simt. Behind simt and "
          "cuda: "
          ":stacked (earlier layers run again all at once), :stored=BYTES (they read stored "
          "probabilities where these fit)")
      ->capture_default_str();
  command->add_flag("--leakage", options->leakage, "also prove causality and look for leaks");
  command
      ->add_option("--leakage-positions", options->leakage_positions,
                   "positions that the leak detectors run on")
      ->capture_default_str();
  add_report_options(*command, *options);
  command->callback([options, &outcome] { outcome.exit_code = run_verify(*options, outcome); });
}

void add_compare(CLI::App& app, Outcome& outcome) {
  CLI::App* command = app.add_subcommand("compare", "judge a dump against a golden file");
  auto options = std::make_shared<VerifyOptions>();
  auto dump = std::make_shared<std::string>();
  command->add_option("golden", options->golden_path, "golden file")->required();
  command
      ->add_option("candidate", *dump,
                   "HDF5, .npz or .safetensors file with the candidate's tensors")
      ->required();
  add_report_options(*command, *options);
  command->callback([options, dump, &outcome] {
    options->subject = "file:" + *dump;
    outcome.exit_code = run_verify(*options, outcome);
  });
}

}  // namespace assay::cli
