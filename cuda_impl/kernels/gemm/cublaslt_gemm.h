// gemm(), gemm_nn() and gemm_tn() by cuBLASLt, for sizes at which a vendor's tuned kernels
// beat ours. The library is loaded when the first gemm asks for it; nothing links it, and without
// it our own kernels do the work.
#pragma once

#include "cuda_impl/kernels/backward.h"
#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Those of kernels.h and backward.h. Sums are fp32, also of partial sums, and rounded to Out once;
// fp32 factors are read as they are, and as tf32 only if asked to be. Unlike with our own kernels
// the order of a sum may depend on how many rows the output has, and whether the bits that tf32 has
// not are rounded off or dropped is cuBLASLt's choice, which it does not document: verify allows
// for both (gemm_error in reference/ops/rules.h).
// False, with nothing launched, where it does not apply: small or unaligned shapes, no library, no
// algorithm for the shape, or the environment variable ASSAY_CUBLASLT=off. Throws simt::Error for a
// failed launch.
template <class S, class Out>
bool cublaslt_gemm(View<Out, 2> y, In<S, 2> x, In<S, 2> w, In<S, 1> bias, Operands operands,
                   Stream stream, const GemmLayout& layout);
template <class S, class Out>
bool cublaslt_gemm_nn(View<Out, 2> dx, In<S, 2> dy, In<S, 2> w, bool accumulate, Operands operands,
                      Stream stream, const BackwardLayout& layout);
template <class S>
bool cublaslt_gemm_tn(View<accum_t<S>, 2> dw, In<S, 2> dy, In<S, 2> x, bool accumulate,
                      Operands operands, Stream stream, const BackwardLayout& layout);

// "cuBLASLt 13.1.0", or why it is not used.
std::string cublaslt_state();

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
