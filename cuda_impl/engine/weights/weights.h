// A model's weights in device memory, stored as S, in one layout for both blocks: a gemm's weight
// is [outputs,inputs]. GPT-2's checkpoints hold the transpose, and Wq, Wk, Wv side by side.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cuda_impl/kernels/kernels.h"
#include "golden/contract/config.h"
#include "golden/contract/weights.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
struct Norm {
  View<const S, 1> gain, bias;  // [D]; RMSNorm has no bias
};

template <class S>
struct Affine {
  View<const S, 2> weight;  // [M,K]
  View<const S, 1> bias;    // [M]; null where there is none
};

template <class S>
struct LayerWeights {
  Norm<S> attn_norm, mlp_norm;
  Affine<S> wq, wk, wv, wo;  // [H*Dh,D] [Hkv*Dh,D] [Hkv*Dh,D] [D,H*Dh]
  Norm<S> q_norm, k_norm;    // [Dh]; null without norms of q and k
  Affine<S> w_gate;          // [F,D]; null in the GPT-2 block
  Affine<S> w_up, w_down;    // [F,D] [D,F]
  GateWeights<S> gate;       // of methods 5.1D, 5.1E, D-base
};

template <class S>
class Weights {
 public:
  Weights(const golden::ModelConfig& config, const golden::WeightSource& source);

  View<const S, 2> embed;      // [V,D]
  View<const S, 2> positions;  // [P,D]; null in the Llama block
  std::vector<LayerWeights<S>> layers;
  Norm<S> final_norm;        // null where norms stand after the residuals
  View<const S, 2> lm_head;  // [V,D]; tied: embed itself

  // The same memory, of one of these views, for whoever trains the weights.
  S* writable(const S* weight) { return memory_.get() + (weight - memory_.get()); }

 private:
  void load_llama(const golden::ModelConfig& config);
  void load_gpt2(const golden::ModelConfig& config);
  GateWeights<S> load_gate(const golden::ModelConfig& config, int64_t layer);

  std::vector<double> read(const std::string& name, int64_t count) const;
  View<const S, 1> vector(const std::string& name, int64_t n);
  View<const S, 2> matrix(const std::string& name, int64_t M, int64_t K);
  // Columns [first, first + M) of a weight [K,columns] and its bias [columns].
  Affine<S> transposed(const std::string& name, int64_t K, int64_t columns, int64_t first,
                       int64_t M);
  S* upload(std::span<const double> values);

  const golden::WeightSource* source_;  // while constructing
  simt::Buffer<S> memory_;
  std::size_t used_ = 0;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
