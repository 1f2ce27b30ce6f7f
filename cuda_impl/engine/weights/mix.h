// The weights of the terms that methods 3.2 and 4.2 add (Combine::learned_mean of method.h).
#pragma once

#include <vector>

#include "cuda_impl/engine/interface/method.h"
#include "cuda_impl/kernels/kernels.h"
#include "golden/contract/weights.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// w = softmax(theta_l) for layers l >= 1. theta is rounded to S, w to accum_t<S>.
template <class S>
class Mix {
 public:
  using A = accum_t<S>;
  Mix(const golden::ModelConfig& config, const Method& method, const golden::WeightSource& weights);
  // Again, from other theta, in the same memory.
  void form(const golden::ModelConfig& config, const golden::WeightSource& weights, Stream stream);

  const A* weights_of(int64_t layer) const { return at(layer).device.get(); }  // [m]; null: all 1
  // Of one term, 0 .. l: 1 with Combine::sum, 1/m with Combine::mean.
  double weight(int64_t layer, int64_t term) const;
  // d theta [m] from d w [m], layer >= 1.
  std::vector<double> theta_gradient(int64_t layer, const std::vector<double>& dw) const;

 private:
  struct Layer {
    std::vector<double> w;  // [m]
    simt::Buffer<A> device;
  };
  const Layer& at(int64_t layer) const { return layers_[static_cast<std::size_t>(layer)]; }

  Combine combine_;
  std::vector<Layer> layers_;  // [L]; empty ones unless learned
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
