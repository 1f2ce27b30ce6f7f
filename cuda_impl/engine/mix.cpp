#include "cuda_impl/engine/mix.h"

#include <cmath>

#include "cuda_impl/engine/convert.h"
#include "golden/names.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
std::vector<simt::Buffer<accum_t<S>>> mix_weights(const golden::ModelConfig& config,
                                                  const Method& method,
                                                  const golden::WeightSource& weights) {
  using A = accum_t<S>;
  std::vector<simt::Buffer<A>> mix(static_cast<std::size_t>(config.num_hidden_layers));
  if (method.combine != Combine::learned_mean) return mix;
  for (int64_t l = 1; l < config.num_hidden_layers; ++l) {
    std::vector<double> terms(static_cast<std::size_t>(l + 1));
    weights.read(golden::layer_weight(config, l, "mix.weight"), terms);
    double total = 0;
    for (double& term : terms) total += term = std::exp(widen(narrow<S>(term)));
    std::vector<A> shares;
    for (const double term : terms) shares.push_back(static_cast<A>(term / total));
    mix[static_cast<std::size_t>(l)] = simt::Buffer<A>(shares);
  }
  return mix;
}

#define ASSAY_INSTANTIATE(S)                                     \
  template std::vector<simt::Buffer<accum_t<S>>> mix_weights<S>( \
      const golden::ModelConfig&, const Method&, const golden::WeightSource&);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
