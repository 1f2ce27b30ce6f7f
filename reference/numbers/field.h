// A dense row-major tensor of some number type, as Array is of doubles.
#pragma once

#include <algorithm>
#include <type_traits>

#include "reference/numbers/array.h"

namespace assay::reference {

inline double to_double(double x) { return x; }

template <class X>
class Field {
  static_assert(std::is_trivially_copyable_v<X> && sizeof(X) % sizeof(double) == 0);

 public:
  using Element = X;

  Field() = default;
  static Field uninitialized(const Shape& shape) {
    Field field;
    field.size_ = golden::element_count(shape);
    field.shape_ = shape;
    field.storage_ =
        Array::uninitialized({field.size_, static_cast<int64_t>(sizeof(X) / sizeof(double))});
    return field;
  }
  static Field zeros(const Shape& shape) {
    Field field = uninitialized(shape);
    std::fill(field.data(), field.data() + field.size(), X());
    return field;
  }
  static Field shape_only(const Shape& shape) {  // absent, but of that shape
    Field field;
    field.shape_ = shape;
    field.size_ = golden::element_count(shape);
    return field;
  }
  // Every element made from the double at its place.
  template <class Make>
  static Field from(const Array& values, Make&& make) {
    Field field = uninitialized(values.shape());
    for (int64_t i = 0; i < values.size(); ++i) field.data()[i] = make(values.data()[i], i);
    return field;
  }

  bool absent() const { return storage_.absent(); }
  const Shape& shape() const { return shape_; }
  int64_t size() const { return size_; }
  X* data() { return reinterpret_cast<X*>(storage_.data()); }
  const X* data() const { return reinterpret_cast<const X*>(storage_.data()); }

  // The double that part(element) gives, for every element.
  template <class Part>
  Array map(Part&& part) const {
    Array out = Array::uninitialized(shape_);
    for (int64_t i = 0; i < size_; ++i) out.data()[i] = part(data()[i]);
    return out;
  }

 private:
  Shape shape_;
  int64_t size_ = 0;
  Array storage_;
};

}  // namespace assay::reference
