// The weights of the terms that a recompute method adds (Combine of method.h).
#pragma once

#include <vector>

#include "cuda_impl/engine/method.h"
#include "cuda_impl/kernels/kernels.h"
#include "golden/weights.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// [L] of [m] for layer l: softmax(theta_l) with Combine::learned_mean, l >= 1, else empty: every term
// counts alike. theta is rounded to S, the result to accum_t<S>.
template <class S>
std::vector<simt::Buffer<accum_t<S>>> mix_weights(const golden::ModelConfig& config,
                                                  const Method& method,
                                                  const golden::WeightSource& weights);

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
