// assay train: a run of any method, in the reference or on the engine's kernels.
#include <fmt/format.h>

#include <memory>

#include "cli/command.h"
#include "cli/train/loop.h"
#include "cli/train/options.h"
#include "cli/train/study.h"
#include "golden/contract/error.h"

namespace assay::cli {
namespace {

constexpr int kStopped = 3;

}  // namespace

void add_train(CLI::App& app, Outcome& outcome) {
  CLI::App* command = app.add_subcommand(
      "train", "train a model of any method on tokens of known law or from a file");
  auto options = std::make_shared<TrainRunOptions>();
  add_train_run_options(*command, *options);
  command->footer(
      "exit codes: 0 the run is over; 3 it was stopped and saved (--resume goes on);\n"
      "2 bad usage or input. '--method all' trains every method, a folder each in --out, and\n"
      "compares them. docs/train.md says what stands in the folder.");
  command->callback([options, command, &outcome] {
    const GivenOptions given = given_options(*command);
    const bool is_study = options->model.method == "all";
    if (options->seeds != 1 && !is_study) {
      throw InputError(fmt::format("--seeds {}: an option of --method all", options->seeds));
    }
    const bool over = is_study ? study(*options, given) : train(*options, given);
    outcome.exit_code = over ? 0 : kStopped;
  });
}

}  // namespace assay::cli
