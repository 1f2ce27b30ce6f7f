#include "verify/numerics/compact_tensor.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace assay::verify {
namespace {

bool is_float(double x) {
  if (!std::isfinite(x)) return true;
  if (std::abs(x) > static_cast<double>(std::numeric_limits<float>::max())) return false;
  const double back = static_cast<float>(x);
  return back == x && std::signbit(back) == std::signbit(x);
}

}  // namespace

CompactTensor::CompactTensor(golden::Shape shape, std::span<const double> values)
    : shape_(std::move(shape)) {
  if (std::all_of(values.begin(), values.end(), is_float)) {
    narrow_.resize(values.size());
    std::transform(values.begin(), values.end(), narrow_.begin(),
                   [](double x) { return static_cast<float>(x); });
  } else {
    wide_.assign(values.begin(), values.end());
  }
}

std::vector<double> CompactTensor::values() const {
  return narrow_.empty() ? wide_ : std::vector<double>(narrow_.begin(), narrow_.end());
}

reference::Array CompactTensor::array() const {
  reference::Array out = reference::Array::uninitialized(shape_);
  for (std::size_t i = 0; i < size(); ++i) out.values()[i] = (*this)[i];
  return out;
}

}  // namespace assay::verify
