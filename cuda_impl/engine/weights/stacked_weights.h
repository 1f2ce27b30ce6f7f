// The weights of all earlier layers as a stacked recompute reads them (stacked_recompute.h).
#pragma once

#include <vector>

#include "cuda_impl/engine/interface/method.h"
#include "cuda_impl/engine/weights/weights.h"
#include "golden/contract/config.h"
#include "golden/contract/error.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// From an array of a layer to the same of the next, in elements: every layer has the same arrays in
// the same order, one layer behind the other. Of LayerWeights or LayerGradients, two at least.
template <class Layer>
int64_t layer_stride(const std::vector<Layer>& layers) {
  const auto first = [&](std::size_t l) { return layers[l].w_down.weight.data; };
  const int64_t stride = first(1) - first(0);
  for (std::size_t l = 2; l < layers.size(); ++l) {
    ASSAY_CHECK(first(l) - first(l - 1) == stride, "layers do not lie evenly");
  }
  return stride;
}

// Copies of layers 0 .. L-2, in scalars of S: (L-1) (Hkv Dh D + D K) with K = F for methods that
// run MLPs again, H Dh for the others. The rest is read where Weights has it: layers lie evenly
// there.
template <class S>
class StackedWeights {
 public:
  // Of a model with L >= 2.
  StackedWeights(const golden::ModelConfig& config, const Method& method, const Weights<S>& weights,
                 Stream stream);

  // Forms them again on the device, of weights that have changed.
  void form(const Weights<S>& weights, Stream stream);

  // Wv of layers first .. first + count - 1, one behind the other: [count*Hkv*Dh,D], biases
  // [count*Hkv*Dh]. The gain and shift of each attn_norm are folded in where it reads one, so that
  // the input is the normalised X_l, the same for every layer.
  Affine<S> v(int64_t first, int64_t count) const;

  // What the terms are multiplied by, W_down or Wo, side by side: [D,count*K], rows out_row apart.
  View<const S, 2> out(int64_t first, int64_t count) const;
  int64_t out_row() const { return out_.shape[1]; }
  int64_t K() const { return K_; }

  // From a weight of a layer to that of the next, in elements.
  int64_t layer_stride() const { return layer_stride_; }
  // A norm that only normalises: gain 1, bias 0.
  const Norm<S>& unit() const { return unit_; }

 private:
  bool folds_ = false, of_mlps_ = false;  // a norm stands before Wv; out is W_down
  int64_t K_ = 0, layer_stride_ = 0;
  simt::Buffer<S> memory_;
  View<S, 2> v_, out_;  // [(L-1)*Hkv*Dh,D], [D,(L-1)*K]
  View<S, 1> v_bias_;   // [(L-1)*Hkv*Dh]; null where v has no bias
  Norm<S> unit_;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
