// Doubles of the contract to and from the types that kernels store.
#pragma once

#include <cstdint>

#include "cuda_impl/simt/simt.h"
#include "golden/contract/precision.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class T>
double widen(T value) {
  return static_cast<double>(simt::to_accum(value));
}

// Rounds once, to nearest even. By way of float, 16 bits would round twice.
template <class T>
T narrow(double value) {
  if constexpr (std::is_same_v<T, simt::bf16>) {
    return simt::bf16(static_cast<float>(golden::round_to(golden::Precision::bf16, value)));
  } else if constexpr (std::is_same_v<T, simt::f16>) {
    return simt::f16(static_cast<float>(golden::round_to(golden::Precision::fp16, value)));
  } else {
    return static_cast<T>(value);
  }
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
