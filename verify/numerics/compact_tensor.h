// A tensor kept for later: as floats where they hold every value exactly, else as doubles.
#pragma once

#include <span>
#include <vector>

#include "golden/contract/tensor.h"
#include "reference/numbers/array.h"

namespace assay::verify {

class CompactTensor {
 public:
  CompactTensor() = default;
  CompactTensor(golden::Shape shape, std::span<const double> values);

  const golden::Shape& shape() const { return shape_; }
  std::size_t size() const { return narrow_.empty() ? wide_.size() : narrow_.size(); }
  double operator[](std::size_t i) const { return narrow_.empty() ? wide_[i] : narrow_[i]; }
  std::vector<double> values() const;
  reference::Array array() const;

 private:
  golden::Shape shape_;
  std::vector<float> narrow_;
  std::vector<double> wide_;
};

}  // namespace assay::verify
