// Per-token losses of logits.
#pragma once

#include <span>
#include <vector>

#include "cli/train/rows.h"

namespace assay::cli {

// -log softmax(logits [N,T,V]) of the labels, [N, T - ahead]; 0 where no label counts.
std::vector<double> losses_of(std::span<const double> logits, const TrainRows& rows, int64_t vocab,
                              int64_t ahead);

}  // namespace assay::cli
