#include "reference/products/scratch.h"

#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

namespace assay::reference {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kPoolSize = 16;  // scratches kept; more at once are freed after use

struct Pool {
  Pool() { idle.reserve(kPoolSize); }  // so that giving back cannot throw
  std::mutex mutex;
  std::vector<Scratch> idle;
};

Pool& pool() {
  static Pool pool;
  return pool;
}

}  // namespace

void FreeAligned::operator()(double* p) const noexcept { std::free(p); }

double* Scratch::reserve(int64_t doubles) {
  if (doubles > capacity_) {
    data_.reset();
    capacity_ = 0;
    const size_t bytes = (size_t(doubles) * sizeof(double) + kAlignment - 1) & ~(kAlignment - 1);
    data_.reset(static_cast<double*>(std::aligned_alloc(kAlignment, bytes)));
    if (data_ == nullptr) throw std::bad_alloc();
    capacity_ = doubles;
  }
  return data_.get();
}

Scratch& leaf_scratch() {
  thread_local Scratch scratch;
  return scratch;
}

PooledScratch::PooledScratch() {
  const std::lock_guard lock(pool().mutex);
  if (pool().idle.empty()) return;
  scratch_ = std::move(pool().idle.back());
  pool().idle.pop_back();
}

PooledScratch::~PooledScratch() {
  const std::lock_guard lock(pool().mutex);
  if (pool().idle.size() < kPoolSize) pool().idle.push_back(std::move(scratch_));
}

}  // namespace assay::reference
