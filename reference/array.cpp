#include "reference/array.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <vector>

#include "golden/error.h"

namespace assay::reference {
namespace {

// Freed storage by size, reused as it is. Bounded, so that memory stays near the live set.
class Pool {
 public:
  double* take(int64_t count) {
    const std::lock_guard lock(mutex_);
    live_ += bytes(count);
    peak_ = std::max(peak_.load(), live_.load());
    const auto found = free_.find(count);
    if (found == free_.end()) return allocate(count);
    double* storage = found->second;
    free_.erase(found);
    pooled_ -= bytes(count);
    return storage;
  }

  void give(double* storage, int64_t count) {
    const std::lock_guard lock(mutex_);
    live_ -= bytes(count);
    if (pooled_ + bytes(count) > kMostPooled) {
      std::free(storage);
      return;
    }
    pooled_ += bytes(count);
    free_.emplace(count, storage);
  }

  void release() {
    const std::lock_guard lock(mutex_);
    for (const auto& [count, storage] : free_) std::free(storage);
    free_.clear();
    pooled_ = 0;
  }

  int64_t live() const { return live_; }
  int64_t peak() const { return peak_; }
  void reset_peak() {
    const std::lock_guard lock(mutex_);
    peak_ = live_.load();
  }

 private:
  static constexpr int64_t kMostPooled = int64_t{192} << 20;

  static int64_t bytes(int64_t count) { return count * static_cast<int64_t>(sizeof(double)); }
  static double* allocate(int64_t count) {
    const std::size_t size = (static_cast<std::size_t>(bytes(count)) + 63) / 64 * 64;
    auto* storage = static_cast<double*>(std::aligned_alloc(64, std::max<std::size_t>(size, 64)));
    if (storage == nullptr) throw std::bad_alloc();
    return storage;
  }

  std::mutex mutex_;
  std::multimap<int64_t, double*> free_;
  int64_t pooled_ = 0;
  std::atomic<int64_t> live_ = 0, peak_ = 0;
};

Pool& pool() {
  static auto* instance = new Pool;  // outlives every static Array
  return *instance;
}

}  // namespace

Array Array::uninitialized(Shape shape) {
  Array array;
  array.size_ = golden::element_count(shape);
  array.shape_ = std::move(shape);
  const int64_t count = array.size_;
  array.storage_ = {pool().take(count), [count](double* p) { pool().give(p, count); }};
  return array;
}

Array Array::zeros(Shape shape) {
  Array array = uninitialized(std::move(shape));
  std::fill(array.values().begin(), array.values().end(), 0.0);
  return array;
}

Array Array::copy_of(Shape shape, std::span<const double> values) {
  Array array = uninitialized(std::move(shape));
  ASSAY_CHECK(values.size() == array.values().size(),
              golden::shape_text(array.shape()) + " from " + std::to_string(values.size()));
  std::copy(values.begin(), values.end(), array.data());
  return array;
}

Array Array::reshaped(Shape shape) const {
  ASSAY_CHECK(golden::element_count(shape) == size_,
              golden::shape_text(shape_) + " as " + golden::shape_text(shape));
  Array array = *this;
  array.shape_ = std::move(shape);
  return array;
}

int64_t live_bytes() { return pool().live(); }
int64_t peak_bytes() { return pool().peak(); }
void reset_peak_bytes() { pool().reset_peak(); }
void release_pool() { pool().release(); }

}  // namespace assay::reference
