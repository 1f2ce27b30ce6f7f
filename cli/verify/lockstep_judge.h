// assay verify --train: lockstep training as a run of the judge.
#pragma once

#include <array>
#include <optional>

#include "cli/judge.h"
#include "verify/lockstep/lockstep.h"

namespace assay::cli {

struct LockstepTyped {
  std::optional<int64_t> steps;  // --train; absent: nothing is trained
  verify::LockstepOptions lockstep;
  std::optional<double> max_norm;  // absent: verify::telling_max_norm
  bool any_other = false;          // of the options below was given

  bool asked() const { return steps.has_value(); }
};

// --train, --lr, --weight-decay, --clip, --betas, --eps, --dropout, --micro-batches.
void add_lockstep_options(CLI::App& command, LockstepTyped& options);

// Throws InputError for what does not go together with --train, and for the options of training
// without it.
void check_lockstep_options(const JudgeOptions& judge, const LockstepTyped& options);

verify::RunReport judge_training(const JudgeOptions& judge, const LockstepTyped& options,
                                 const std::string& command);

}  // namespace assay::cli
