// Whether a batch fits a config.
#pragma once

#include "cuda_impl/engine/model.h"
#include "cuda_impl/simt/backend.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Throws InputError naming the span and the place of the first value that does not fit.
void check_batch(const golden::ModelConfig& config, const Batch& batch);

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
