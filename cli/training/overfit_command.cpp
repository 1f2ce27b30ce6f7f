// assay overfit: is a training run learning, memorising, or seeing the answer?
#include <fmt/format.h>

#include <memory>

#include "cli/command.h"
#include "cli/report_options.h"
#include "cli/training/overfit_inputs.h"
#include "golden/contract/error.h"
#include "verify/training/judge.h"
#include "verify/training/report/training_report.h"

namespace assay::cli {
namespace {

namespace training = verify::training;

struct OverfitCommand {
  OverfitOptions inputs;
  ReportOptions report;
};

void check_numbers(const OverfitOptions& options) {
  const auto positive = [](const char* name, const std::optional<int64_t>& value) {
    if (value && *value < 1) {
      throw InputError(fmt::format("{} {}: expected a whole number above 0", name, *value));
    }
  };
  positive("--vocab", options.vocab);
  positive("--parameters", options.parameters);
  positive("--train-size", options.train_size);
  positive("--val-size", options.val_size);
  positive("--checkpoints", options.checkpoints);
  positive("--seq", options.positions);
  positive("--tokens-per-step", options.tokens_per_step);
  if (options.bits && !(*options.bits > 0 && *options.bits <= 64)) {
    throw InputError(fmt::format("--bits {}: expected a number in 0 .. 64", *options.bits));
  }
  if (!(options.alpha > 0 && options.alpha < 0.5)) {
    throw InputError(fmt::format("--alpha {}: expected a number in 0 .. 0.5", options.alpha));
  }
  if (options.unit != "nats" && options.unit != "bits") {
    throw InputError("--unit " + options.unit + ": expected nats or bits");
  }
}

bool has_files(const OverfitOptions& options) {
  bool any = !options.inputs.empty() || options.live.probe;
  for (const std::string& path : options.losses) any = any || !path.empty();
  return any;
}

int run_overfit(const CLI::App& app, const OverfitCommand& command, const Outcome& outcome) {
  check_live_options(app, command.inputs.live);
  if (!has_files(command.inputs)) {
    throw InputError(
        "assay overfit: expected a run's folder, a curve (trainer_state.json, CSV, JSONL, a log) "
        "or "
        "per-token losses (.npz, .npy, .safetensors, HDF5); 'assay overfit --help' lists the "
        "options");
  }
  check_numbers(command.inputs);
  check_report_targets(command.report, overfit_files(command.inputs));
  const training::Evidence evidence = gather_evidence(command.inputs);
  const training::Judgement judgement = training::judge(evidence);
  if (!command.report.quiet) {
    fmt::print("{}", training::terminal_text(evidence, judgement, outcome.colour));
  }
  if (!command.report.html_path.empty()) {
    verify::write_report(training::html_text(evidence, judgement, outcome.command_line),
                         command.report.html_path);
  }
  if (!command.report.json_path.empty()) {
    verify::write_report(training::json_text(evidence, judgement, outcome.command_line),
                         command.report.json_path);
  }
  if (!command.report.junit_path.empty()) {
    verify::RunReport report;
    report.title = "training run: " + training::verdict_name(judgement.verdict);
    report.command_line = outcome.command_line;
    report.checks = training::checks_of(judgement);
    verify::write_report(verify::junit_text(report), command.report.junit_path);
  }
  return training::verdict_exit_code(judgement.verdict);
}

void add_set_options(CLI::App& command, OverfitOptions& options) {
  for (std::size_t s = 0; s < 3; ++s) {
    const std::string set = training::kSetNames[s];
    command.add_option(fmt::format("--{}-losses", set), options.losses[s],
                       fmt::format("per-token losses (or log_probs) of {} tokens, and what else of "
                                   "them: tokens, mask, oracle_log_probs",
                                   set));
    command.add_option(fmt::format("--{}-data", set), options.data[s],
                       fmt::format("tokens of {}, and their oracle_log_probs: what 'assay data "
                                   "--set {}' wrote",
                                   set, set));
  }
}

}  // namespace

void add_overfit(CLI::App& app, Outcome& outcome) {
  CLI::App* command = app.add_subcommand(
      "overfit", "judge a training run: learning, memorising, diverging, or seeing the answer");
  auto options = std::make_shared<OverfitCommand>();
  OverfitOptions& inputs = options->inputs;
  command->add_option(
      "input", inputs.inputs,
      "a run's folder; a curve: trainer_state.json, CSV, JSONL, logs of nanoGPT and llm.c; "
      "per-token losses by set (fresh/losses, ..): .npz, .npy, .safetensors, HDF5");
  add_set_options(*command, inputs);
  command->add_option(
      "--oracle", inputs.oracle,
      "the tokens' true law: a source as of 'assay data' (markov:order=2,vocab=64), "
      "a file with oracle_log_probs by set, or a number of nats a token");
  command->add_option("--vocab", inputs.vocab, "vocabulary size, for log V");
  command->add_option("--parameters", inputs.parameters,
                      "number of parameters, for the counting bound");
  command->add_option("--bits", inputs.bits,
                      "bits of a parameter; default: of a run of 'assay train' its own, else 16");
  command->add_option("--train-size", inputs.train_size, "tokens of the whole training set");
  command->add_option("--val-size", inputs.val_size, "tokens that a val loss of the curve is of");
  command->add_option("--checkpoints", inputs.checkpoints,
                      "checkpoints among which val chose this one");
  command->add_option("--seq", inputs.positions, "positions of a training row");
  command->add_option("--tokens-per-step", inputs.tokens_per_step, "tokens of a training step");
  command->add_flag("--one-epoch", inputs.one_epoch,
                    "every step of the curve saw its tokens for the first time");
  command->add_option("--unit", inputs.unit, "of losses: nats or bits")->capture_default_str();
  command->add_option("--alpha", inputs.alpha, "error rate of a LEAK")->capture_default_str();
  command->add_option("--leak-report", inputs.leak_report,
                      "what 'assay leak --json' wrote of the same model");
  add_live_options(*command, inputs.live);
  add_report_options(*command, options->report);
  command->footer(
      "exit codes: 0 HEALTHY; 1 LEAK, SHIFT ERROR, EVAL CONTAMINATION, DIVERGING, DEGENERATE,\n"
      "OVERFIT, UNDERFIT; 3 INSUFFICIENT, LEAK SUSPECTED; 2 bad usage or input");
  command->callback([options, command, &outcome] {
    outcome.exit_code = run_overfit(*command, *options, outcome);
  });
}

}  // namespace assay::cli
