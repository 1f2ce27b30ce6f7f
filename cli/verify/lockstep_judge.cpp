#include "cli/verify/lockstep_judge.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "cli/verify/training_subjects.h"
#include "golden/contract/error.h"

namespace assay::cli {

void add_lockstep_options(CLI::App& command, LockstepTyped& options) {
  verify::LockstepOptions& lockstep = options.lockstep;
  lockstep.rule.weight_decay = 0.1;
  command.add_option("--train", options.steps,
                     "train beside the reference for so many steps of AdamW and judge losses, "
                     "gradients, moments and weights of each (docs/lockstep.md)");
  const auto other = [&](const char* name, auto& value, const char* what) {
    return command.add_option(name, value, what)->each([&options](const std::string&) {
      options.any_other = true;
    });
  };
  other("--lr", lockstep.rate,
        "with --train: the largest learning rate; it warms up over half of the steps and falls by "
        "a cosine")
      ->capture_default_str();
  other("--weight-decay", lockstep.rule.weight_decay,
        "with --train: decoupled decay of weights with two dimensions or more")
      ->capture_default_str();
  other("--clip", options.max_norm,
        "with --train: the norm that gradients are clipped to, 0: none; default: between those of "
        "the first two steps, so that one is clipped");
  command
      .add_option_function<std::vector<double>>(
          "--betas",
          [&options](const std::vector<double>& betas) {
            options.lockstep.rule.beta1 = betas[0];
            options.lockstep.rule.beta2 = betas[1];
            options.any_other = true;
          },
          "with --train: of the moments; default 0.9 0.999")
      ->expected(2);
  other("--eps", lockstep.rule.eps, "with --train: of the denominator")->capture_default_str();
  other("--dropout", lockstep.dropout.rate,
        "with --train: the share of O_l and U_l that is dropped, by counters; simt, cuda, "
        "reference")
      ->capture_default_str();
  other("--micro-batches", lockstep.micro_batches,
        "with --train: of a step, which count unequal numbers of positions")
      ->capture_default_str();
}

void check_lockstep_options(const JudgeOptions& judge, const LockstepTyped& options) {
  if (!options.asked()) {
    if (!options.any_other) return;
    throw InputError(
        "--lr, --weight-decay, --clip, --betas, --eps, --dropout, --micro-batches: expected "
        "together with --train N, got no --train");
  }
  const auto refuse = [](bool given, const char* option) {
    if (!given) return;
    throw InputError(fmt::format(
        "--train: expected without {}, got both: training is a judgement of its own", option));
  };
  refuse(judge.equal, "--equal");
  refuse(judge.modes, "--modes");
  refuse(judge.leakage, "--leakage");
  refuse(!judge.pattern.empty(), "--only");
  refuse(!judge.left_out.empty(), "--leave-out");
  refuse(!judge.elsewhere.map.empty(), "--map");
  refuse(judge.decoding == verify::Decoding::asked, "--decode");
  refuse(judge.decoding == verify::Decoding::off, "--no-decode");
  refuse(judge.strict, "--strict");
  refuse(judge.leakage_positions != JudgeOptions{}.leakage_positions, "--leakage-positions");
}

verify::RunReport judge_training(const JudgeOptions& judge, const LockstepTyped& options,
                                 const std::string& command) {
  verify::LockstepOptions lockstep = options.lockstep;
  lockstep.steps = *options.steps;
  lockstep.rule.max_norm = options.max_norm.value_or(0);
  lockstep.required = judge.required;
  lockstep.command = command;
  verify::validate(lockstep);
  const OpenGolden open(judge);
  const golden::GoldenReader& golden = open.golden;
  if (!options.max_norm) lockstep.rule.max_norm = telling_max_norm(golden, lockstep);
  verify::RunReport report = report_on(judge, golden);
  report.command_line = command;
  try {
    const auto subject =
        make_training_subject(judge.subject, judge.precision, golden.header().config, golden,
                              lockstep.rule, lockstep.dropout, of_batch(judge.elsewhere, golden));
    report.subject = subject->describe();
    report.title = fmt::format("method {}, {}; training in lockstep", golden.header().config.method,
                               report.subject);
    verify::LockstepResult result = verify::verify_lockstep(golden, *subject, lockstep);
    report.checks = std::move(result.checks);
    report.rows = std::move(result.rows);
    report.diverged = std::move(result.diverged);
    report.first_divergence = std::move(result.first_divergence);
    report.diagnosis = std::move(result.diagnosis);
  } catch (const verify::SubjectFailure& failure) {
    report.checks.push_back(failed(failure));
  }
  return report;
}

}  // namespace assay::cli
