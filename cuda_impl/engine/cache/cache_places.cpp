#include "cuda_impl/engine/cache/cache_places.h"

#include "golden/contract/methods.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

CacheExtent cache_extent(const golden::ModelConfig& config, int64_t positions, int64_t chunk) {
  const CacheExtent flat{.positions = positions, .rows = positions, .ring = {}};
  const bool by_position = golden::find_method(config.method).takes("score_positions");
  if (config.window == 0 || !config.full_layers.empty() || by_position) return flat;
  const auto up = [](int64_t rows) { return (rows + kRingTile - 1) / kRingTile * kRingTile; };
  const int64_t kept = up(config.sink_tokens);
  const int64_t round = up(config.window + chunk - 1 + kRingTile - 1);
  if (kept + round >= positions) return flat;
  return {.positions = positions,
          .rows = kept + round,
          .ring = {.kept = static_cast<int>(kept), .round = static_cast<int>(round)}};
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
