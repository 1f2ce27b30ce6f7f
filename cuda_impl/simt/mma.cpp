// simt::mma: what one lane computes for its warp when the last has arrived.
#include "cuda_impl/simt/mma.h"

namespace assay::simt::on_host::host {

template <class S>
void mma_lanes(void** requests, unsigned) {
  const auto element = [](const std::uint32_t* pairs, int i) {
    S half;
    half.bits = static_cast<std::uint16_t>(pairs[i / 2] >> (16 * (i % 2)));
    return to_accum(half);
  };
  float a[16][16], b[16][8], d[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& request = *static_cast<const MmaRequest*>(requests[lane]);
    for (int i = 0; i < 8; ++i) {
      const MmaPlace at = mma_a_place(lane, i);
      a[at.row][at.column] = element(request.a, i);
    }
    for (int i = 0; i < 4; ++i) {
      const MmaPlace at = mma_b_place(lane, i), sum_at = mma_d_place(lane, i);
      b[at.row][at.column] = element(request.b, i);
      d[sum_at.row][sum_at.column] = request.d[i];
    }
  }
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < 16; ++k) {
      for (int column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const auto& request = *static_cast<const MmaRequest*>(requests[lane]);
    for (int i = 0; i < 4; ++i) {
      const MmaPlace at = mma_d_place(lane, i);
      request.d[i] = d[at.row][at.column];
    }
  }
}
template void mma_lanes<bf16>(void**, unsigned);
template void mma_lanes<f16>(void**, unsigned);

}  // namespace assay::simt::on_host::host
