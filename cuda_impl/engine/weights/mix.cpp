#include "cuda_impl/engine/weights/mix.h"

#include <cmath>

#include "cuda_impl/engine/memory/convert.h"
#include "golden/contract/names.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
Mix<S>::Mix(const golden::ModelConfig& config, const Method& method,
            const golden::WeightSource& weights)
    : combine_(method.combine), layers_(static_cast<std::size_t>(config.num_hidden_layers)) {
  if (combine_ != Combine::learned_mean) return;
  for (std::size_t l = 1; l < layers_.size(); ++l) layers_[l].device = simt::Buffer<A>(l + 1);
  form(config, weights, nullptr);
}

template <class S>
void Mix<S>::form(const golden::ModelConfig& config, const golden::WeightSource& weights,
                  Stream stream) {
  if (combine_ != Combine::learned_mean) return;
  for (int64_t l = 1; l < config.num_hidden_layers; ++l) {
    Layer& layer = layers_[static_cast<std::size_t>(l)];
    std::vector<double> w(static_cast<std::size_t>(l + 1));
    weights.read(golden::layer_weight(config, l, "mix.weight"), w);
    double total = 0;
    for (double& value : w) total += value = std::exp(widen(narrow<S>(value)));
    std::vector<A> stored;
    for (double& value : w) {
      stored.push_back(static_cast<A>(value / total));
      value = widen(stored.back());
    }
    simt::copy_in(layer.device.get(), stored.data(), layer.device.size_bytes(), stream);
    layer.w = std::move(w);
  }
}

template <class S>
double Mix<S>::weight(int64_t layer, int64_t term) const {
  if (combine_ == Combine::mean) return 1 / static_cast<double>(layer + 1);
  return combine_ == Combine::sum ? 1 : at(layer).w[static_cast<std::size_t>(term)];
}

template <class S>
std::vector<double> Mix<S>::theta_gradient(int64_t layer, const std::vector<double>& dw) const {
  const std::vector<double>& w = at(layer).w;
  double mean = 0;
  for (std::size_t i = 0; i < w.size(); ++i) mean += w[i] * dw[i];
  std::vector<double> dtheta;
  for (std::size_t i = 0; i < w.size(); ++i) dtheta.push_back(w[i] * (dw[i] - mean));
  return dtheta;
}

#define ASSAY_INSTANTIATE(S) template class Mix<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
