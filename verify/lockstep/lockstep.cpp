#include "verify/lockstep/lockstep.h"

#include <fmt/format.h>

#include <cmath>

#include "golden/contract/error.h"
#include "reference/training/schedule.h"
#include "reference/training/trainer.h"
#include "verify/lockstep/lockstep_run.h"
#include "verify/lockstep/micro_batches.h"
#include "verify/lockstep/step_report.h"
#include "verify/subjects/bindings.h"

namespace assay::verify {

void validate(const LockstepOptions& options) {
  const auto expect = [](const char* name, bool fits, const char* expected, auto got) {
    if (fits) return;
    throw InputError(fmt::format("{}: expected {}, got {}", name, expected, got));
  };
  expect("--train", options.steps >= 1, "1 step or more", options.steps);
  expect("--micro-batches", options.micro_batches >= 1, "1 or more a step", options.micro_batches);
  expect("--lr", options.rate > 0 && std::isfinite(options.rate),
         "a positive number: without steps nothing is judged", options.rate);
  expect("--dropout", options.dropout.rate >= 0 && options.dropout.rate < 1,
         "0 or more and less than 1", options.dropout.rate);
  reference::validate(options.rule, "--train");
}

// The schedule has its peak twice; the second one is left out, so that no two steps in a row have
// the same rate.
double rate_of(const LockstepOptions& options, int64_t step) {
  const int64_t warmup = options.steps / 2 + 1;
  return reference::learning_rate({.peak = options.rate,
                                   .floor = options.rate / 10,
                                   .warmup = warmup,
                                   .steps = options.steps + 1},
                                  step < warmup ? step : step + 1);
}

double telling_max_norm(const golden::GoldenReader& golden, const LockstepOptions& options) {
  const golden::ModelConfig& config = golden.header().config;
  reference::Trainer trainer(config, golden, {}, reference::Keep::all, options.dropout);
  const Batch batch = read_batch(golden);
  double sum = 0;
  for (int64_t step = 0; step < 2; ++step) {
    for (const Batch& one : micro_batches_of(config, batch, options.micro_batches, step)) {
      trainer.accumulate(training_batch(one));
    }
    sum += trainer.step(0).gradient_norm;
  }
  return sum / 2;
}

LockstepResult verify_lockstep(const golden::GoldenReader& golden, TrainingSubject& subject,
                               const LockstepOptions& options) {
  validate(options);
  LockstepRun run(golden, subject, options);
  run.run();
  return report_of(run, options);
}

}  // namespace assay::verify
