// The weights of a Probabilistic Transformer in device memory, stored as S.
#pragma once

#include "cuda_impl/engine/arena.h"
#include "cuda_impl/engine/factor_arrays.h"
#include "golden/weights.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
class FactorWeights : public FactorArrays<S> {
 public:
  FactorWeights(const golden::ModelConfig& config, const golden::WeightSource& source);

 private:
  Arena memory_;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
