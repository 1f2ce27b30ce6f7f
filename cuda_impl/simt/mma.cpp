// simt::mma: what one lane computes for its warp when the last has arrived.
#include "cuda_impl/simt/mma.h"

namespace assay::simt::on_host::host {

template <class S>
void mma_lanes(void** requests, unsigned) {
  constexpr int kPerWord = 4 / int{sizeof(S)}, kDepth = 8 * kPerWord;
  const auto element = [](std::uint32_t word, int i) {
    S value;
    value.bits = static_cast<decltype(value.bits)>(word >> (16 * i));
    return static_cast<float>(value);
  };
  float a[16][kDepth], b[kDepth][8], d[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& request = *static_cast<const MmaRequest*>(requests[lane]);
    for (int e = 0; e < kPerWord; ++e) {
      for (int i = 0; i < 4; ++i) {
        const MmaPlace at = mma_a_word(lane, i);
        a[at.row][kPerWord * at.column + e] = element(request.a[i], e);
      }
      for (int i = 0; i < 2; ++i) {
        const MmaPlace at = mma_b_word(lane, i);
        b[kPerWord * at.row + e][at.column] = element(request.b[i], e);
      }
    }
    for (int i = 0; i < 4; ++i) {
      const MmaPlace at = mma_d_place(lane, i);
      d[at.row][at.column] = request.d[i];
    }
  }
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < kDepth; ++k) {
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
template void mma_lanes<tf32>(void**, unsigned);

}  // namespace assay::simt::on_host::host
