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
