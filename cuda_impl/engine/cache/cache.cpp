#include "cuda_impl/engine/cache/cache.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
void Cache<S>::carve(Carver& carver, const Parts<S>& parts, int64_t B, int64_t R) {
  const golden::ModelConfig& c = parts.config;
  const int64_t L = c.num_hidden_layers;
  const auto layers = static_cast<std::size_t>(L);
  CachePlaces::carve(carver, B, R);
  k.resize(layers);
  v.resize(layers);
  factors.resize(parts.method.gated_scores ? layers : 0);
  const int64_t Hkv = c.num_key_value_heads;
  for (auto* arrays : {&k, &v}) {
    for (View<S, 4>& array : *arrays) array = carver.view<S>({B, Hkv, R, c.head_dim});
  }
  recompute_values.clear();
  for (int64_t l = 1; parts.method.recomputes() && l < L; ++l) {
    const bool stacked = parts.stacked != nullptr;
    for (int64_t j = 0; j < (stacked ? 1 : l); ++j) {
      recompute_values.push_back(carver.view<S>({B, stacked ? l * Hkv : Hkv, R, c.head_dim}));
    }
  }
  for (std::size_t l = 0; l < factors.size(); ++l) {
    factors[l] = carver.view<A>({B, 1, R, parts.weights.layers[l].gate.bias.shape[0]});
  }
  extremes.resize(c.window_kind == golden::WindowKind::dynamic ? layers : 0);
  for (View<A, 4>& array : extremes) array = carver.view<A>({B, 1, R, 2});
  k_table = carver.take<const S*>(L);
}

template <class S>
Cache<S>::Cache(const Parts<S>& parts, int64_t B, const CacheExtent& extent) : queue_(parts.queue) {
  positions = extent.positions;
  ring = extent.ring;
  arena_.plan([&](Carver& carver) { carve(carver, parts, B, extent.rows); });
  std::vector<const S*> keys;
  for (const View<S, 4>& array : k) keys.push_back(array.data);
  simt::copy_in(k_table, keys.data(), keys.size() * sizeof(const S*), queue_);
  clear(queue_);
}

template <class S>
bool Cache<S>::copy_prefix(int64_t from, int64_t to, int64_t count, int64_t) {
  copy_mask(from, to, count, queue_);
  for (const auto* arrays : {&k, &v, &recompute_values}) {
    for (const View<S, 4>& array : *arrays) copy_rows(array, from, to, count, queue_);
  }
  for (const auto* arrays : {&factors, &extremes}) {
    for (const View<A, 4>& array : *arrays) copy_rows(array, from, to, count, queue_);
  }
  return true;
}

#define ASSAY_INSTANTIATE(S) template struct Cache<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
