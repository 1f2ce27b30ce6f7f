// Whether a batch, or a chunk of one, fits a config.
#pragma once

#include "cuda_impl/engine/interface/model.h"
#include "cuda_impl/simt/backend.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Throws InputError naming the span and the place of the first value that does not fit.
void check_batch(const golden::ModelConfig& config, const Batch& batch);

// How many positions the loss of a batch that fits counts, each predicting the label `label_shift`
// positions on (0 or 1).
int64_t counted_labels(const Batch& batch, int label_shift);

// check_batch for a chunk behind sequences of the given lengths [B], of at most `capacity`
// positions.
void check_chunk(const golden::ModelConfig& config, const Chunk& chunk,
                 std::span<const int64_t> lengths, int64_t capacity);

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
