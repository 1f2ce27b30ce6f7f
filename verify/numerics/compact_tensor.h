// A tensor for later: kept as floats where they hold every value exactly, else as doubles; or not
// kept at all but read when it is asked for.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "golden/contract/tensor.h"
#include "reference/numbers/array.h"

namespace assay::verify {

class CompactTensor {
 public:
  using Read = std::function<void(std::span<double> out)>;

  CompactTensor() = default;
  CompactTensor(golden::Shape shape, std::span<const double> values);
  // may_fail: read may throw InputError, which makes the tensor unreadable, no error.
  CompactTensor(golden::Shape shape, Read read, bool may_fail);

  const golden::Shape& shape() const { return shape_; }
  bool readable() const;  // reads it where that is the only way to know
  reference::Array values() const;

 private:
  golden::Shape shape_;
  std::vector<float> narrow_;
  std::vector<double> wide_;
  Read read_;
  mutable std::optional<bool> readable_;
};

}  // namespace assay::verify
