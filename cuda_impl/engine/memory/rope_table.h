// The angles of rotary position embedding.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda_impl/simt/backend.h"
#include "golden/contract/config.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// [Dh/2]: the angle that pair i turns by from one position to the next, in radians.
std::vector<double> rope_frequencies(const golden::ModelConfig& config);

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
