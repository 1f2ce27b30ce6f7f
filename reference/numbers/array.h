// Dense row-major doubles with shared ownership. Freed storage is used again (storage.h).
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "golden/contract/tensor.h"

namespace assay::reference {

using golden::Shape;

class Array {
 public:
  using Element = double;

  Array() =
      default;  // no storage: "absent", which error bounds read as exact and gradients as zero
  // Storage with unspecified contents.
  static Array uninitialized(Shape shape);
  static Array zeros(Shape shape);
  static Array shape_only(Shape shape);  // absent, but of that shape
  static Array copy_of(Shape shape, std::span<const double> values);

  bool absent() const { return storage_ == nullptr; }
  const Shape& shape() const { return shape_; }
  int64_t size() const { return size_; }
  double* data() { return storage_.get(); }
  const double* data() const { return storage_.get(); }
  std::span<double> values() { return {storage_.get(), static_cast<std::size_t>(size_)}; }
  std::span<const double> values() const {
    return {storage_.get(), static_cast<std::size_t>(size_)};
  }
  golden::TensorView view() const { return {shape_, values()}; }
  // The same storage under another shape with as many elements.
  Array reshaped(Shape shape) const;
  // True when no other Array shares the storage, so that it may be overwritten.
  bool unique() const { return storage_.use_count() == 1; }

 private:
  Shape shape_;
  int64_t size_ = 0;
  std::shared_ptr<double> storage_;
};

// Bytes in live Arrays at this moment and at the worst moment so far.
int64_t live_bytes();
int64_t peak_bytes();
void reset_peak_bytes();
void release_pool();  // gives reusable storage back to the system

}  // namespace assay::reference
