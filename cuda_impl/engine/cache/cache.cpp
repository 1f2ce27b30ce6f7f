#include "cuda_impl/engine/cache/cache.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
void Cache<S>::carve(Carver& carver, int64_t blocks, int64_t rows) {
  const golden::ModelConfig& c = parts_.config;
  const int64_t L = c.num_hidden_layers;
  const auto layers = static_cast<std::size_t>(L);
  k.resize(layers);
  v.resize(layers);
  factors.resize(parts_.method.gated_scores ? layers : 0);
  const int64_t Hkv = c.num_key_value_heads;
  for (auto* arrays : {&k, &v}) {
    for (View<S, 4>& array : *arrays) array = carver.view<S>({blocks, Hkv, rows, c.head_dim});
  }
  recompute_values.clear();
  for (int64_t l = 1; parts_.method.recomputes() && l < L; ++l) {
    const bool stacked = parts_.stacked != nullptr;
    for (int64_t j = 0; j < (stacked ? 1 : l); ++j) {
      recompute_values.push_back(
          carver.view<S>({blocks, stacked ? l * Hkv : Hkv, rows, c.head_dim}));
    }
  }
  for (std::size_t l = 0; l < factors.size(); ++l) {
    const int64_t outputs = parts_.weights.layers[l].gate.bias.shape[0];
    factors[l] = carver.view<A>({blocks, 1, rows, outputs});
  }
  extremes.resize(c.window_kind == golden::WindowKind::dynamic ? layers : 0);
  for (View<A, 4>& array : extremes) array = carver.view<A>({blocks, 1, rows, 2});
}

template <class S>
Cache<S>::Cache(const Parts<S>& parts, const CacheExtent& extent)
    : CacheArrays<Cache<S>>(extent, parts.queue),
      parts_(parts),
      k_table_(static_cast<std::size_t>(parts.config.num_hidden_layers)) {
  this->allocate();
}

template <class S>
void Cache<S>::moved() {
  std::vector<const S*> keys;
  for (const View<S, 4>& array : k) keys.push_back(array.data);
  simt::copy_in(k_table_.get(), keys.data(), keys.size() * sizeof(const S*), parts_.queue);
}

#define ASSAY_INSTANTIATE(S) template struct Cache<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
