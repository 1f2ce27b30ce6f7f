// Scratch memory that outlives a product: fresh pages cost as much as the arithmetic of a small
// one. Internal to products/.
#pragma once

#include <cstdint>
#include <memory>

namespace assay::reference {

struct FreeAligned {
  void operator()(double* p) const noexcept;
};

// A growing buffer, 64-byte aligned, contents undefined after reserve.
class Scratch {
 public:
  double* reserve(int64_t doubles);
  double* data() const { return data_.get(); }

 private:
  std::unique_ptr<double, FreeAligned> data_;
  int64_t capacity_ = 0;
};

// This thread's own scratch. Only for a leaf task: between reserve and last use it must not call
// oneTBB, because a thread that waits may run another task that takes the same scratch.
Scratch& leaf_scratch();

// Scratch for a whole product, taken from a process-wide pool and given back on destruction. May
// be held across oneTBB calls.
class PooledScratch {
 public:
  PooledScratch();
  ~PooledScratch();
  PooledScratch(const PooledScratch&) = delete;
  PooledScratch& operator=(const PooledScratch&) = delete;
  double* reserve(int64_t doubles) { return scratch_.reserve(doubles); }

 private:
  Scratch scratch_;
};

}  // namespace assay::reference
