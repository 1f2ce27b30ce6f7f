#include "reference/numbers/array.h"

#include <algorithm>
#include <atomic>

#include "golden/contract/error.h"
#include "reference/numbers/storage.h"

namespace assay::reference {
namespace {

// Counts the bytes of live Arrays.
struct Counter {
  void add(int64_t count) {
    const int64_t now = live += count * static_cast<int64_t>(sizeof(double));
    int64_t most = peak;
    while (now > most && !peak.compare_exchange_weak(most, now)) {
    }
  }
  std::atomic<int64_t> live = 0, peak = 0;
};

Counter& counter() {
  static auto* instance = new Counter;  // outlives every static Array
  return *instance;
}

}  // namespace

Array Array::shape_only(Shape shape) {
  Array array;
  array.size_ = golden::element_count(shape);
  array.shape_ = std::move(shape);
  return array;
}

Array Array::uninitialized(Shape shape) {
  Array array = shape_only(std::move(shape));
  const int64_t count = array.size_;
  array.storage_ = {take_storage(static_cast<std::size_t>(count)), [count](double* p) {
                      counter().add(-count);
                      give_storage(p, static_cast<std::size_t>(count));
                    }};
  counter().add(count);
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

int64_t live_bytes() { return counter().live; }
int64_t peak_bytes() { return counter().peak; }
void reset_peak_bytes() { counter().peak = counter().live.load(); }
void release_pool() { trim_storage(); }

}  // namespace assay::reference
