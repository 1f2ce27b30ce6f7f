// One block of device memory that all of a forward pass's buffers are carved from.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda_impl/kernels/view.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Hands out consecutive pieces. Without memory (base null) it only counts.
class Carver {
 public:
  explicit Carver(std::byte* base) : base_(base) {}

  template <class T>
  T* take(int64_t count) {
    constexpr std::size_t kAlignment = 256;
    used_ = (used_ + kAlignment - 1) / kAlignment * kAlignment;
    T* piece = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + used_);
    used_ += static_cast<std::size_t>(count) * sizeof(T);
    return piece;
  }

  template <class T, std::size_t R>
  View<T, int{R}> view(const int64_t (&extents)[R]) {
    View<T, int{R}> result;
    int64_t count = 1;
    for (std::size_t i = 0; i < R; ++i) count *= result.shape[i] = extents[i];
    result.data = take<T>(count);
    return result;
  }

  std::size_t used() const { return used_; }

 private:
  std::byte* base_;
  std::size_t used_ = 0;
};

class Arena {
 public:
  // Runs carve(carver) once to measure and once to hand out; allocates only if that is more than
  // ever before.
  template <class Carve>
  void plan(const Carve& carve) {
    Carver measure(nullptr);
    carve(measure);
    if (measure.used() > memory_.size()) {
      memory_ = simt::Buffer<std::byte>();  // two at once would double the peak
      memory_ = simt::Buffer<std::byte>(measure.used());
      ++allocations_;
    }
    Carver carver(memory_.get());
    carve(carver);
  }

  int64_t allocations() const { return allocations_; }
  std::size_t bytes() const { return memory_.size(); }

 private:
  simt::Buffer<std::byte> memory_;
  int64_t allocations_ = 0;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
