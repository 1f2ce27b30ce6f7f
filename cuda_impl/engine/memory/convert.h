// Doubles of the contract to and from the types that kernels store.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "cuda_impl/simt/simt.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class T>
double widen(T value) {
  if constexpr (std::is_integral_v<T>) {
    return value;
  } else {
    return static_cast<double>(simt::to_accum(value));
  }
}

// The float next to value whose last bit is set, unless value is a float itself: what is rounded
// from it to fewer bits is what would have been rounded from value (round to odd; Boldo and
// Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
inline float round_to_odd(double value) {
  const float nearest = static_cast<float>(value);
  const auto wide = static_cast<double>(nearest);
  if (wide == value || !std::isfinite(nearest)) return nearest;
  if ((std::bit_cast<uint32_t>(nearest) & 1) != 0) return nearest;
  return std::nextafter(nearest, wide < value ? INFINITY : -INFINITY);
}

// Rounds once, to nearest even. By way of the nearest float, 16 bits would round twice.
template <class T>
T narrow(double value) {
  if constexpr (std::is_same_v<T, simt::bf16> || std::is_same_v<T, simt::f16>) {
    return T(round_to_odd(value));
  } else {
    return static_cast<T>(value);
  }
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
