// The ways in which a tensor of ours may lie in one of another shape: in which order its axes
// stand, which are joined, and what stands beside them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "golden/maps/samples.h"

namespace assay::golden {

// What may stand in a tensor besides the atoms of ours.
struct LayoutExtras {
  int64_t layer = -1, layers = 0;  // index of the tensor's layer, where layers may be stacked
  int64_t heads = 0, groups = 0, head = 0;  // H, Hkv, Dh
};

// A place in which our element lies: base + sum of index * stride.
struct Layout {
  std::vector<int64_t> strides;  // of our atoms
  int64_t base = 0;
  std::string axes;  // left side of the pattern; right too, if ours are not all there
  std::string part;  // "[2, 3]", "" if none
  int64_t copies = 1, copy_stride = 0;
  bool cut = false, last = false;
  bool same = false;   // its axes are ours, as they are
  int operations = 0;  // how far it is from ours: the fewer the likelier
};

std::vector<Layout> layouts_of(const SampledTensor& ours, const Shape& theirs,
                               const LayoutExtras& extras);

}  // namespace assay::golden
