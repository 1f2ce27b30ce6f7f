// GELU of one number and its slope, for kernels; the formulas stand in gelu.cu and
// gelu_backward.cu.
#pragma once

#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

inline constexpr double kGeluCubic = 0.044715;
inline constexpr double kSqrtHalf = 0.70710678118654752440;       // sqrt(1 / 2)
inline constexpr double kSqrtTwoOverPi = 0.79788456080286535588;  // sqrt(2 / pi)

// erf(x / sqrt(2)), or the tanh that stands for it
template <class A, bool kTanh>
SIMT_DEVICE A gelu_odd_part(A x) {
  if constexpr (kTanh) {
    return simt::tanh(A(kSqrtTwoOverPi) * (x + A(kGeluCubic) * x * x * x));
  } else {
    return simt::erf(x * A(kSqrtHalf));
  }
}

template <class A, bool kTanh>
SIMT_DEVICE A gelu_of(A x) {
  return A(0.5) * x * (A(1) + gelu_odd_part<A, kTanh>(x));
}

template <class A, bool kTanh>
SIMT_DEVICE A gelu_slope(A x) {
  const A odd = gelu_odd_part<A, kTanh>(x);
  A odd_slope;
  if constexpr (kTanh) {
    odd_slope = (A(1) - odd * odd) * A(kSqrtTwoOverPi) * (A(1) + A(3 * kGeluCubic) * x * x);
  } else {
    odd_slope = A(kSqrtTwoOverPi) * simt::exp(A(-0.5) * x * x);
  }
  return A(0.5) * (A(1) + odd) + A(0.5) * x * odd_slope;
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
