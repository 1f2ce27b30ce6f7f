// The arrays of what is trained, as a trainer sees them.
#pragma once

#include <algorithm>

#include "cuda_impl/kernels/view.h"
#include "golden/contract/weights.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// One weight, or what belongs to it, whatever its shape.
template <class T>
struct FlatArray {
  View<T, 1> values;  // null data: the kernels read something else that is formed from the master
  bool matrix;        // two dimensions or more in the checkpoint
};

template <class T, int R>
FlatArray<T> flat(const View<T, R>& view) {
  int64_t count = 1;
  for (const int64_t extent : view.shape) count *= extent;
  return {{view.data, {count}}, R >= 2};
}

// Moments before the first step, and gradients before the first micro-batch.
class Zeros final : public golden::WeightSource {
 public:
  void read(const std::string&, std::span<double> out) const override {
    std::ranges::fill(out, 0.0);
  }
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
