// A model's weights in device memory, stored as S.
#pragma once

#include <string>
#include <vector>

#include "cuda_impl/kernels/view.h"
#include "golden/config.h"
#include "golden/weights.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
struct LayerWeights {
  View<const S, 1> attn_norm, mlp_norm;  // [D]
  View<const S, 2> wq;                   // [H*Dh,D]
  View<const S, 2> wk, wv;               // [Hkv*Dh,D]
  View<const S, 2> wo;                   // [D,H*Dh]
  View<const S, 2> w_gate, w_up;         // [F,D]
  View<const S, 2> w_down;               // [D,F]
};

template <class S>
class Weights {
 public:
  Weights(const golden::ModelConfig& config, const golden::WeightSource& source);

  View<const S, 2> embed;  // [V,D]
  std::vector<LayerWeights<S>> layers;
  View<const S, 1> final_norm;  // [D]
  View<const S, 2> lm_head;     // [V,D]; tied: embed itself

 private:
  S* upload(const std::string& name, int64_t count);

  const golden::WeightSource* source_;  // while constructing
  simt::Buffer<S> memory_;
  std::size_t used_ = 0;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
