// The weights of a Probabilistic Transformer in device memory, stored as S.
#pragma once

#include "cuda_impl/engine/memory/arena.h"
#include "cuda_impl/engine/weights/factor_arrays.h"
#include "golden/contract/weights.h"

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
