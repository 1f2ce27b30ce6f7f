// What a method asks of the engine beyond the plain block.
#pragma once

#include "cuda_impl/simt/backend.h"
#include "golden/config.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

enum class Method {
  plain,
  recompute_mlp,      // "1": spec/methods.md section 3; keeps q, k and lse of every layer
  cumulative_scores,  // "5.1": section 4; keeps q and k of every layer
};

// Throws InputError that lists what there is, for another block too.
Method parse_method(const golden::ModelConfig& config);

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
