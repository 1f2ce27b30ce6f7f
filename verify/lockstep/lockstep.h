// Lockstep: a subject trains beside the reference, from the same state and on the same batches, and
// every step is judged twice.
//
// Teacher-forced: the subject is given the reference's state of that step, and what it makes of it
//   is compared with what the reference makes of it. Errors of other steps are no part of it.
// Free-running: the subject goes on from its own state. It is compared with the reference's run, by
//   bounds that grow from step to step, and, where it hands over its whole state, with what the
//   reference makes of that one: so an error is found at the step that makes it.
// In both the update is judged a second time, from the subject's own gradients (due_step.h): a
// defect of the optimizer then stands against a few roundings, whatever gradients may deviate by.
//
// The reference's run is one of states that the subject can hold: it is rounded to the master type
// after every step, and gradients are those of the weights rounded to the storage type.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "golden/file/golden_file.h"
#include "reference/training/adamw.h"
#include "reference/training/dropout.h"
#include "verify/numerics/checkpoint_row.h"
#include "verify/subjects/training/training_subject.h"
#include "verify/verdict.h"

namespace assay::verify {

struct LockstepOptions {
  int64_t steps = 4;
  int64_t micro_batches = 2;  // a step
  reference::AdamwRule rule = {};
  reference::Dropout dropout = {};  // of O_l and U_l; subject and reference have its masks
  double rate = 1e-2;  // the largest: linear warm-up over half of the steps, then a cosine
  double false_alarm_rate = 1e-6;          // of the whole report
  std::vector<std::string> required = {};  // patterns of what may not be missing, "all"
  std::string command = "assay verify";    // what the user typed
};

// Throws InputError for an option out of range.
void validate(const LockstepOptions& options);

// A largest norm between those of the first two steps: one of them at least is clipped and the
// other is not.
double telling_max_norm(const golden::GoldenReader& golden, const LockstepOptions& options);

// Of a step, from 0.
double rate_of(const LockstepOptions& options, int64_t step);

struct LockstepResult {
  std::vector<Check> checks;
  std::vector<CheckpointRow> rows;  // "step/2/grad/lm_head.weight"; local columns: teacher-forced
  std::string diverged;             // the first of them that diverges; "": none
  std::vector<std::string> first_divergence;
  std::string diagnosis;  // "" if no known mechanism fits
};

// The subject was made for the golden file's config and for the options' rule.
LockstepResult verify_lockstep(const golden::GoldenReader& golden, TrainingSubject& subject,
                               const LockstepOptions& options);

}  // namespace assay::verify
