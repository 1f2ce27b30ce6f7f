// assay verify: numerics, and with --leakage the detectors, in one report; with --train a run of
// training in lockstep.
#include <memory>

#include "cli/command.h"
#include "cli/judge.h"
#include "cli/report_options.h"
#include "cli/subjects.h"
#include "cli/verify/lockstep_judge.h"

namespace assay::cli {
namespace {

int run_training(VerifyOptions& options, const LockstepTyped& train, const Outcome& outcome) {
  options.judge.precision = golden::parse_precision(options.precision);
  check_report_targets(options.report, inputs_of(options.judge));
  verify::RunReport report = judge_training(options.judge, train, outcome.command_line);
  return conclude(report, options.report, outcome);
}

}  // namespace

void add_verify(CLI::App& app, Outcome& outcome) {
  CLI::App* command = app.add_subcommand("verify", "judge a subject against a golden file");
  auto options = std::make_shared<VerifyOptions>();
  JudgeOptions& judge = options->judge;
  command->add_option("golden", judge.golden_path, "golden file")->required();
  add_subject_option(*command, judge.subject);
  command->add_flag("--leakage", judge.leakage, "also prove causality and look for leaks");
  command
      ->add_option("--leakage-positions", judge.leakage_positions,
                   "positions that the leak detectors run on at most, the first ones of each row")
      ->capture_default_str();
  add_judge_options(*command, *options);
  auto train = std::make_shared<LockstepTyped>();
  add_lockstep_options(*command, *train);
  command->callback([options, train, &outcome] {
    check_lockstep_options(options->judge, *train);
    outcome.exit_code =
        train->asked() ? run_training(*options, *train, outcome) : run_verify(*options, outcome);
  });
}

}  // namespace assay::cli
