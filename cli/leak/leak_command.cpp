// assay prove and assay leak: what a method can see, and what an implementation does see.
#include <fmt/format.h>

#include <memory>

#include "cli/command.h"
#include "cli/judge.h"
#include "cli/leak/decoder_leak.h"
#include "cli/model_options.h"
#include "cli/report_options.h"
#include "cli/running_check.h"
#include "cli/subjects.h"
#include "golden/contract/error.h"
#include "golden/contract/weights.h"
#include "reference/methods/registry.h"
#include "verify/leakage/structural.h"

namespace assay::cli {
namespace {

struct LeakCommandOptions {
  ModelOptions model;
  std::string subject = "auto", precision = "fp32";
  SubjectOptions elsewhere;
  DecoderLeakOptions decoder;
  ReportOptions report;
};

// A report on a model that no golden file stands behind.
verify::RunReport report_of(const ModelOptions& options, const golden::ModelConfig& config,
                            const std::string& subject, const Outcome& outcome) {
  verify::RunReport report;
  report.title = fmt::format("method {}, [{},{}]; {}", config.method, options.batch,
                             options.positions, subject);
  report.command_line = outcome.command_line;
  report.config_json = golden::to_json(config);
  report.method = config.method;
  report.seed = options.seed;
  report.subject = subject;
  return report;
}

verify::RunReport prove(const LeakCommandOptions& typed, const Outcome& outcome) {
  const ModelOptions& options = typed.model;
  check_report_targets(typed.report, model_inputs(options));
  const golden::ModelConfig config = model_config(options);
  const auto graph = reference::build_model(config, options.batch, options.positions);
  verify::RunReport report = report_of(options, config, "the method's graph", outcome);
  report.checks = {verify::prove_causality(*graph).check};
  return report;
}

verify::RunReport leak(const LeakCommandOptions& options, const Outcome& outcome) {
  const ModelOptions& model = options.model;
  std::vector<std::string> inputs = model_inputs(model);
  inputs.insert(inputs.end(), {file_behind(options.subject), options.elsewhere.map});
  check_report_targets(options.report, inputs);
  const golden::ModelConfig config = model_config(model);
  const golden::SyntheticWeights weights(config, model.seed);
  std::string read_as;
  const verify::Batch batch =
      unpadded(model_tokens(model, config, &read_as), model.batch, model.positions);
  const auto graph = reference::build_model(config, model.batch, model.positions);
  verify::RunReport report = report_of(model, config, options.subject, outcome);
  verify::LeakOptions leak_options;
  leak_options.seed = model.seed;
  const RunningCheck running(options.report.quiet);
  leak_options.begins = running.begins();
  try {
    SubjectOptions elsewhere = options.elsewhere;
    elsewhere.first_batch = batch;
    const auto subject = make_subject(options.subject, golden::parse_precision(options.precision),
                                      config, weights, elsewhere);
    report = report_of(model, config, subject->describe(), outcome);
    if (!read_as.empty()) {
      report.title += fmt::format("; tokens {}: {}", model.tokens_path, read_as);
    }
    leak_options.reference_logits = reference_logits(config, weights, subject->precision());
    look_for_leaks(report, *graph, *subject, config, batch, leak_options);
  } catch (const verify::SubjectFailure& failure) {
    report.checks.push_back(failed(failure));
    if (options.subject.starts_with("exec") || options.subject.starts_with("lib")) {
      report.checks.back().details.push_back(
          "it was asked for a model of Assay's; one that brings its own is judged with --vocab V, "
          "the number of its tokens");
    }
  }
  return report;
}

// The report of what was asked for: two dumps, any decoder, or a model of a method.
verify::RunReport leak_of(const LeakCommandOptions& options, const CLI::App& command,
                          const Outcome& outcome) {
  const DecoderLeakOptions& decoder = options.decoder;
  const auto is_given = [&](const char* name) { return command.get_option(name)->count() > 0; };
  if (decoder.dumps.empty() && !decoder.vocab_size) {
    for (const char* name : {"--positions", "--axis", "--position-axis", "--ignore"}) {
      if (is_given(name)) {
        throw InputError(
            fmt::format("{}: expected with --vocab and a program, or two dumps", name));
      }
    }
    return leak(options, outcome);
  }
  std::vector<std::string> inputs = decoder_leak_inputs(decoder);
  if (!options.model.tokens_path.empty()) inputs.push_back(options.model.tokens_path);
  check_report_targets(options.report, inputs);
  require_no_model(command, decoder.dumps.empty() ? "--vocab" : "two dumps");
  if (decoder.dumps.empty()) {
    const RunningCheck running(options.report.quiet);
    DecoderLeakOptions shown = decoder;
    shown.begins = running.begins();
    return decoder_leak(shown, options.model, is_given("--batch"), options.subject,
                        options.elsewhere, outcome);
  }
  if (decoder.vocab_size || is_given("--subject")) {
    throw InputError("leak: two dumps have run: expected neither --vocab nor --subject");
  }
  return dump_pair_leak(decoder, outcome);
}

}  // namespace

void add_prove(CLI::App& app, Outcome& outcome) {
  CLI::App* command =
      app.add_subcommand("prove", "prove causality of a method over its graph, for all inputs");
  auto options = std::make_shared<LeakCommandOptions>();
  options->model.positions = 32;
  add_model_options(*command, options->model);
  add_report_options(*command, options->report);
  command->callback([options, &outcome] {
    outcome.exit_code = conclude(prove(*options, outcome), options->report, outcome);
  });
}

void add_leak(CLI::App& app, Outcome& outcome) {
  CLI::App* command = app.add_subcommand("leak", "look for leaks with every detector there is");
  auto options = std::make_shared<LeakCommandOptions>();
  options->model.batch = 2;
  options->model.positions = 33;
  add_model_options(*command, options->model);
  add_subject_option(*command, options->subject);
  add_precision_option(*command, options->precision);
  add_elsewhere_options(*command, options->elsewhere);
  add_decoder_leak_options(*command, options->decoder);
  add_report_options(*command, options->report);
  command->callback([options, command, &outcome] {
    outcome.exit_code = conclude(leak_of(*options, *command, outcome), options->report, outcome);
  });
}

}  // namespace assay::cli
