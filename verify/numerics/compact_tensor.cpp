#include "verify/numerics/compact_tensor.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "golden/contract/error.h"

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

CompactTensor::CompactTensor(golden::Shape shape, Read read, bool may_fail)
    : shape_(std::move(shape)), read_(std::move(read)) {
  if (!may_fail) readable_ = true;
}

bool CompactTensor::readable() const {
  if (!read_) return true;
  if (!readable_) {
    try {
      values();
      readable_ = true;
    } catch (const InputError&) {
      readable_ = false;
    }
  }
  return *readable_;
}

reference::Array CompactTensor::values() const {
  if (!read_ && narrow_.empty()) return reference::Array::copy_of(shape_, wide_);
  auto out = reference::Array::uninitialized(shape_);
  if (read_) {
    read_(out.values());
    return out;
  }
  std::copy(narrow_.begin(), narrow_.end(), out.values().begin());
  return out;
}

}  // namespace assay::verify
