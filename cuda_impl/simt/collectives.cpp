// The warp collectives that are no templates: what one lane computes for all when the last has
// arrived.
#include "cuda_impl/simt/worker.h"

namespace assay::simt::on_host::host {

void ballot_lanes(void** predicates, unsigned mask) {
  unsigned ballot = 0;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (mask >> lane & 1u) ballot |= *static_cast<unsigned*>(predicates[lane]) << lane;
  }
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (mask >> lane & 1u) *static_cast<unsigned*>(predicates[lane]) = ballot;
  }
}

// PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type". Lane = 4 group + t; every
// 32-bit register of a and b holds two neighbouring bf16, the lower one in the low half:
//   a[r]: row group + 8 (r mod 2), columns 2t + 8 (r div 2) and the next
//   b[r]: rows 2t + 8r and the next, column group
//   d[r]: row group + 8 (r div 2), column 2t + (r mod 2)
void mma_lanes(void** requests, unsigned) {
  float a[16][16], b[16][8], d[16][8];
  const auto low = [](std::uint32_t pair) { return bits::to_float(pair << 16); };
  const auto high = [](std::uint32_t pair) { return bits::to_float(pair & 0xffff0000u); };
  for (int lane = 0; lane < 32; ++lane) {
    const auto& request = *static_cast<const MmaRequest*>(requests[lane]);
    const int group = lane / 4, t = lane % 4;
    for (int r = 0; r < 4; ++r) {
      const int row = group + 8 * (r % 2), column = 2 * t + 8 * (r / 2);
      a[row][column] = low(request.a[r]);
      a[row][column + 1] = high(request.a[r]);
      d[group + 8 * (r / 2)][2 * t + r % 2] = request.d[r];
    }
    for (int r = 0; r < 2; ++r) {
      b[2 * t + 8 * r][group] = low(request.b[r]);
      b[2 * t + 8 * r + 1][group] = high(request.b[r]);
    }
  }
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      double sum = d[row][column];
      for (int k = 0; k < 16; ++k) sum += double{a[row][k]} * double{b[k][column]};
      d[row][column] = static_cast<float>(sum);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const auto& request = *static_cast<const MmaRequest*>(requests[lane]);
    for (int r = 0; r < 4; ++r) request.d[r] = d[lane / 4 + 8 * (r / 2)][2 * (lane % 4) + r % 2];
  }
}

void fail_shuffle_source(int lane, int source_lane, unsigned mask) {
  const Lane& self = *this_worker->current;
  fail("wrong shuffle source: lane " + std::to_string(lane) + " at " + describe(self.site) +
       " reads lane " + std::to_string(source_lane) + ", which is not in the mask " + hex(mask));
}

void fail_shuffle_width(int width) {
  fail("wrong shuffle width: " + describe(*this_worker->current) +
       ": expected 1, 2, 4, 8, 16 or 32, got " + std::to_string(width));
}

}  // namespace assay::simt::on_host::host
