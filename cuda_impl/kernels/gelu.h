// GELU of one number, for kernels:  x/2 (1 + erf(x/sqrt(2))), or with tanh
// x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), GPT-2's gelu_new.
#pragma once

#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class A>
SIMT_DEVICE A gelu_exact(A x) {
  return A(0.5) * x * (A(1) + simt::erf(x * A(0.70710678118654752440)));
}

template <class A>
SIMT_DEVICE A gelu_tanh(A x) {
  const A inner = A(0.79788456080286535588) * (x + A(0.044715) * x * x * x);
  return A(0.5) * x * (A(1) + simt::tanh(inner));
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
