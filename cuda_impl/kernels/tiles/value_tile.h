// A tile of probabilities times its values, of the kernels whose queries and keys lie as in
// score_tile.h.
#pragma once

#include "cuda_impl/kernels/tiles/score_tile.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

inline constexpr int kMaxColumns = kMaxHeadSize / 32;  // of context per lane: lane, lane + 32, ..

// r_context[c][r] += p[r][s] * v[s][column], s ascending over the visible keys of the tile at key0:
// no product with a hidden key's value is formed. Row r of the warp stands at position0 + r.
//   s_p [kKeys][kRowsPerWarp] the warp's, s_v [kKeys][Dh], s_padding_mask [kKeys]; in shared
//   memory, complete
template <class A>
SIMT_DEVICE void add_values(A (&r_context)[kMaxColumns][kRowsPerWarp], const A* s_p, const A* s_v,
                            const int* s_padding_mask, const Window& window, int key0,
                            int position0, int Dh) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int s = 0; s < kKeys && key0 + s < position0 + kRowsPerWarp; ++s) {
    if (s_padding_mask[s] == 0)
      continue;  // the same for the whole warp, as every condition on s and r
    const auto rows = window.rows_of(key0 + s, position0, kRowsPerWarp);
    const A* s_row = s_p + s * kRowsPerWarp;
    const bool all_rows = rows.contains_all(kRowsPerWarp);
    SIMT_UNROLL for (int c = 0; c < kMaxColumns; ++c) {
      const int column = lane + 32 * c;
      if (column >= Dh) continue;
      const A v = s_v[s * Dh + column];
      if (all_rows) {
        SIMT_UNROLL for (int r = 0; r < kRowsPerWarp; ++r) r_context[c][r] += s_row[r] * v;
      } else {
        SIMT_UNROLL for (int r = 0; r < kRowsPerWarp; ++r) {
          if (rows.contains(r)) r_context[c][r] += s_row[r] * v;
        }
      }
    }
  }
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
