#include "cli/judge.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <optional>

#include "cli/command_line.h"
#include "cli/rounded_golden.h"
#include "cli/subjects.h"
#include "golden/exchange/checkpoint.h"
#include "golden/file/golden_file.h"
#include "reference/methods/registry.h"
#include "verify/judge/equality.h"
#include "verify/judge/numerics.h"
#include "verify/leakage/structural.h"
#include "verify/subjects/bindings.h"
#include "verify/subjects/graph_subject.h"

namespace assay::cli {
namespace {

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

// The proof takes time and memory as T x T a tensor: it is of a graph of at most 32 positions.
void look_for_leaks_in(const JudgeOptions& options, const golden::GoldenReader& golden,
                       verify::Subject& subject, verify::RunReport& report) {
  const golden::ModelConfig& config = golden.header().config;
  const int64_t fixed = subject.capabilities().fixed_length;
  const verify::Batch batch =
      shortened(verify::read_batch(golden), fixed > 0 ? fixed : options.leakage_positions);
  const auto graph = reference::build_model(config, 1, std::min<int64_t>(batch.positions, 32));
  const verify::LeakOptions leak_options{
      .all_positions = golden.positions(),
      .reference_logits = reference_logits(config, golden, subject.precision()),
      .begins = options.begins};
  look_for_leaks(report, *graph, subject, config, batch, leak_options);
}

// As what the subject presents itself.
void introduce(const verify::Subject& subject, const golden::GoldenReader& golden,
               verify::RunReport& report) {
  report.subject = subject.describe();
  report.title = fmt::format("method {}, {}", golden.header().config.method, report.subject);
  if (const std::string how = subject.arithmetic(); !how.empty()) report.title += "; " + how;
}

}  // namespace

std::shared_ptr<const verify::Ledger> compare_numbers(
    const JudgeOptions& options, const golden::GoldenReader& golden, const RoundedGolden* rounded,
    verify::Subject& subject, const verify::WatchFree& watch, verify::RunReport& report) {
  verify::NumericsOptions numerics_options;
  numerics_options.pattern = options.pattern;
  numerics_options.left_out = options.left_out;
  numerics_options.required = options.required;
  numerics_options.strict = options.strict;
  numerics_options.decoding = options.decoding;
  numerics_options.modes = options.modes;
  numerics_options.command = judging_command(options);
  numerics_options.watch = watch;
  const golden::GoldenReader& truth = rounded != nullptr ? rounded->reader() : golden;
  verify::NumericsResult numerics = options.equal
                                        ? verify::verify_equality(golden, subject, numerics_options)
                                        : verify::verify_numerics(truth, subject, numerics_options);
  if (rounded != nullptr) {
    numerics.checks.push_back({.name = "weights",
                               .status = verify::Status::pass,
                               .summary = rounded->summary(),
                               .details = {}});
  }
  report.checks = std::move(numerics.checks);
  report.rows = std::move(numerics.rows);
  report.diverged = std::move(numerics.diverged);
  report.first_divergence = std::move(numerics.first_divergence);
  report.diagnosis = std::move(numerics.diagnosis);
  return std::move(numerics.ledger);
}

std::function<golden::Tensor(const verify::Batch&)> reference_logits(
    const golden::ModelConfig& config, const golden::WeightSource& weights,
    const golden::PrecisionSchedule& schedule) {
  return [&config, &weights, schedule](const verify::Batch& batch) {
    golden::Tensor logits;
    verify::GraphSubject("reference", reference::build_model, config, weights, schedule)
        .run(batch, {}, [&](verify::Observed observed) {
          if (observed.name == "logits") logits = std::move(observed.tensor);
        });
    return logits;
  };
}

SubjectOptions of_batch(SubjectOptions options, const golden::GoldenReader& golden) {
  options.batch = golden.batch();
  options.positions = golden.positions();
  options.first_batch = verify::read_batch(golden);
  return options;
}

void add_part_options(CLI::App& command, JudgeOptions& options) {
  command.add_option("--require", options.required,
                     "checkpoints whose absence from a dump, or a program's answer, is a failure, "
                     "e.g. 'layers/*/output'; all: every one");
  command.add_flag("--strict", options.strict,
                   "tensors there that the golden file does not declare are a failure");
}

void add_modes_option(CLI::App& command, JudgeOptions& options) {
  command.add_flag(
      "--modes", options.modes,
      "also run the batch in other ways, which have to give the same: the first positions alone, "
      "other rows beside it, padding behind it, gradients with less kept; and change one token");
}

void add_decode_option(CLI::App& command, JudgeOptions& options) {
  command.add_flag_function(
      "--decode,!--no-decode",
      [&options](int64_t count) {
        options.decoding = count > 0 ? verify::Decoding::asked : verify::Decoding::off;
      },
      "judge decoding with a cache in every chunking, however long the sequences are; what keeps "
      "no cache is skipped. Default: where it can be judged, long sequences behind a prompt and in "
      "uneven pieces");
}

OpenGolden::OpenGolden(const JudgeOptions& options) : golden(options.golden_path) {
  golden.check_all();  // also of what no view reads: gradients, bounds, sigmas, dependences
  if (options.checkpoint.empty()) return;
  checkpoint.emplace(options.checkpoint, golden.header().config);
  golden.weights_from(*checkpoint, options.checkpoint);
}

verify::RunReport report_on(const JudgeOptions& options, const golden::GoldenReader& golden) {
  const golden::Header& header = golden.header();
  verify::RunReport report;
  report.title = fmt::format("method {}, {}", header.config.method, options.subject);
  report.command_line = judging_command(options);
  report.golden_path = golden.path();
  report.root_hash = golden.root_hash();
  report.config_json = golden::to_json(header.config);
  report.method = header.config.method;
  report.seed = header.seed;
  report.subject = options.subject;
  return report;
}

verify::RunReport judge(const JudgeOptions& options) {
  const OpenGolden open(options);
  const golden::GoldenReader& golden = open.golden;
  verify::RunReport report = report_on(options, golden);
  try {
    const auto subject = make_subject(options.subject, options.precision, golden.header().config,
                                      golden, of_batch(options.elsewhere, golden));
    introduce(*subject, golden, report);
    std::unique_ptr<RoundedGolden> rounded;
    if (!options.equal) rounded = RoundedGolden::of(golden, subject->precision().storage);
    compare_numbers(options, golden, rounded.get(), *subject, {}, report);
    if (options.leakage) look_for_leaks_in(options, golden, *subject, report);
  } catch (const verify::SubjectFailure& failure) {
    report.checks.push_back(failed(failure));
  }
  return report;
}

verify::Check failed(const verify::SubjectFailure& failure) {
  return {
      .name = "subject", .status = verify::Status::fail, .summary = failure.what(), .details = {}};
}

void look_for_leaks(verify::RunReport& report, const reference::Graph& graph,
                    verify::Subject& subject, const golden::ModelConfig& config,
                    const verify::Batch& batch, const verify::LeakOptions& options) {
  report.checks.push_back(verify::prove_causality(graph).check);
  verify::LeakResult result = verify::detect_leaks(subject, config, batch, options);
  report.checks.insert(report.checks.end(), result.checks.begin(), result.checks.end());
  if (result.runs > 0) report.influence = std::move(result.influence);
}

}  // namespace assay::cli
