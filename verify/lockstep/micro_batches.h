// What a step of lockstep training reads: the golden file's batch, with other tokens in every
// micro-batch.
//
// Micro-batch i of step s (from 0) has its tokens moved by 7 (i + K s) places in the vocabulary,
// labels with them, so that masks, padding and what is counted stay. The last micro-batch of a step
// counts about half as many positions as the others, so that a mean of means is another number, and
// every second step counts fewer again, so that norms of gradients differ from step to step.
// A position whose own query sees no key, behind padding on the left, predicts nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "golden/contract/config.h"
#include "reference/training/trainer.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

// As the reference's trainer has it; it points into `batch`.
reference::TrainingBatch training_batch(const Batch& batch);

// Of step `step`, from 0. Throws InputError for a batch of which no position counts.
std::vector<Batch> micro_batches_of(const golden::ModelConfig& config, const Batch& batch,
                                    int64_t micro_batches, int64_t step);

}  // namespace assay::verify
