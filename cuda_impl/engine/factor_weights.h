// The weights of a Probabilistic Transformer in device memory, stored as S.
#pragma once

#include <string>
#include <vector>

#include "cuda_impl/kernels/kernels.h"
#include "golden/config.h"
#include "golden/weights.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Of one group: row (k*C + c)*r + i holds column i of channel c's factor for distance group k.
template <class S>
struct Factors {
  View<const S, 2> u, v;  // [K*C*r,D]
};

template <class S>
class FactorWeights {
 public:
  FactorWeights(const golden::ModelConfig& config, const golden::WeightSource& source);

  std::vector<View<const S, 2>> unary, output;  // [V,D], by label group; tied: the same
  std::vector<Factors<S>> factors;              // by head group + label group, one of which is 0

 private:
  View<const S, 2> upload(const golden::WeightSource& source, const std::string& name, int64_t rows,
                          int64_t columns);

  std::vector<simt::Buffer<S>> memory_;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
