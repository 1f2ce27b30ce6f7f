// The gradients of a model's weights in device memory, in accum_t<S> and in the layout of Weights.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cuda_impl/engine/interface/method.h"
#include "cuda_impl/engine/interface/model.h"
#include "cuda_impl/engine/memory/arena.h"
#include "cuda_impl/engine/weights/mix.h"
#include "cuda_impl/engine/weights/score_coefficients.h"
#include "cuda_impl/kernels/backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class A>
struct NormGradient {
  View<A, 1> gain, bias;  // [D]; RMSNorm has no bias
};

template <class A>
struct AffineGradient {
  View<A, 2> weight;  // [M,K]
  View<A, 1> bias;    // [M]; null where there is none
};

template <class A>
struct GateGradient {
  View<A, 1> norm, bias;
  View<A, 2> w1, w2;
};

template <class A>
struct LayerGradients {
  NormGradient<A> attn_norm, mlp_norm;
  AffineGradient<A> wq, wk, wv, wo, w_gate, w_up, w_down;
  NormGradient<A> q_norm, k_norm;  // [Dh]; null without norms of q and k
  View<A, 1> coefficients;  // of the scores' c_i, in their layout; null where none is learned
  GateGradient<A> gate;     // of methods 5.1D, 5.1E, D-base
  View<A, 1> mix;           // [m], of the terms' weights
};

template <class A>
struct WeightGradients {
  View<A, 2> embed, positions;  // [V,D], [P,D]
  std::vector<LayerGradients<A>> layers;
  NormGradient<A> final_norm;
  View<A, 2> lm_head;  // [V,D]; tied: embed itself

  A* first = nullptr;  // all of them stand one behind the other, from here
  std::size_t bytes = 0;
};

// With null views where the model has no such weight.
template <class A>
void carve(WeightGradients<A>& gradients, Carver& carver, const golden::ModelConfig& config,
           const Method& method);

// Numbers of a layer's learned parameters but a gate's, by the suffixes of their names
// ("mix.weight").
using LearnedValues = std::map<std::string, std::vector<double>>;

// Their gradients, formed on the host from those of coefficients and mix.
template <class S>
LearnedValues learned_gradients(const LayerGradients<accum_t<S>>& gradients, int64_t layer,
                                const Mix<S>& mix, const ScoreCoefficients<S>& coefficients,
                                Stream stream);

// Reads every gradient back under the name and in the layout of the checkpoint's weight; those of
// learned parameters are formed from those of coefficients and mix.
template <class S>
void read_out(const WeightGradients<accum_t<S>>& gradients, const golden::ModelConfig& config,
              const Mix<S>& mix, const ScoreCoefficients<S>& coefficients, Stream stream,
              const ReceiveGradient& receive);

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
