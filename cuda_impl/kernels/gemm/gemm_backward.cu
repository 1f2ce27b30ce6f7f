// gemm_nn(), gemm_tn(): choose a variant by the rule of prefers_mma_backward
// (gemm_backward_variants.h), on a GPU large gemms by cuBLASLt
// (cuda_impl/kernels/gemm/cublaslt_gemm.h).
// No kernel of its own.
#include "cuda_impl/kernels/gemm/gemm_backward_variants.h"

#if defined(ASSAY_HAS_CUBLASLT)
#include "cuda_impl/kernels/gemm/cublaslt_gemm.h"
#endif

namespace assay::cuda {
inline namespace SIMT_BACKEND {

namespace {

constexpr int kSmallestTile = 64;

// By our own kernels, with factors read as F.
template <class S, class F, class Out>
void own_gemm_nn(View<Out, 2> dx, In<S, 2> dy, In<S, 2> w, bool accumulate, Stream stream,
                 const BackwardLayout& layout) {
  if constexpr (kHasMma<F>) {
    if (prefers_mma_backward<F>(w.shape[0], w.shape[1])) {
      gemm_nn_mma<S>(dx, dy, w, accumulate, stream, layout);
      return;
    }
  }
  gemm_nn_tiled<S, F>(dx, dy, w, accumulate, stream, layout);
}

template <class S, class F>
void own_gemm_tn(View<accum_t<S>, 2> dw, In<S, 2> dy, In<S, 2> x, bool accumulate, Stream stream,
                 const BackwardLayout& layout) {
  if constexpr (kHasMma<F>) {
    if (prefers_mma_backward<F>(dw.shape[0], dw.shape[1])) {
      gemm_tn_mma<S>(dw, dy, x, accumulate, stream, layout);
      return;
    }
  }
  gemm_tn_tiled<S, F>(dw, dy, x, accumulate, stream, layout);
}

}  // namespace

template <class S, class Out>
void gemm_nn(View<Out, 2> dx, In<S, 2> dy, In<S, 2> w, bool accumulate, Stream stream,
             Operands operands, const BackwardLayout& layout) {
  check_gemm_nn<S>("gemm_nn", dx, dy, w, layout, kSmallestTile);
  expect_operands<S>("gemm_nn", operands);
#if defined(ASSAY_HAS_CUBLASLT)
  if constexpr (!std::is_same_v<S, double>) {
    if (cublaslt_gemm_nn<S>(dx, dy, w, accumulate, operands, stream, layout)) return;
  }
#endif
  if constexpr (std::is_same_v<S, float>) {
    if (operands == Operands::tf32) {
      own_gemm_nn<S, simt::tf32>(dx, dy, w, accumulate, stream, layout);
      return;
    }
  }
  own_gemm_nn<S, S>(dx, dy, w, accumulate, stream, layout);
}

template <class S>
void gemm_tn(View<accum_t<S>, 2> dw, In<S, 2> dy, In<S, 2> x, bool accumulate, Stream stream,
             Operands operands, const BackwardLayout& layout) {
  check_gemm_tn<S>("gemm_tn", dw, dy, x, layout, kSmallestTile);
  expect_operands<S>("gemm_tn", operands);
#if defined(ASSAY_HAS_CUBLASLT)
  if constexpr (!std::is_same_v<S, double>) {
    if (cublaslt_gemm_tn<S>(dw, dy, x, accumulate, operands, stream, layout)) return;
  }
#endif
  if constexpr (std::is_same_v<S, float>) {
    if (operands == Operands::tf32) {
      own_gemm_tn<S, simt::tf32>(dw, dy, x, accumulate, stream, layout);
      return;
    }
  }
  own_gemm_tn<S, S>(dw, dy, x, accumulate, stream, layout);
}

#define ASSAY_INSTANTIATE_NN(S, Out)                                                 \
  template void gemm_nn<S>(View<Out, 2>, In<S, 2>, In<S, 2>, bool, Stream, Operands, \
                           const BackwardLayout&);
#define ASSAY_INSTANTIATE(S)                                                                \
  ASSAY_INSTANTIATE_NN(S, S)                                                                \
  template void gemm_tn<S>(View<accum_t<S>, 2>, In<S, 2>, In<S, 2>, bool, Stream, Operands, \
                           const BackwardLayout&);
#define ASSAY_INSTANTIATE_WIDE(S) ASSAY_INSTANTIATE_NN(S, accum_t<S>)
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
ASSAY_FOR_NARROW_TYPES(ASSAY_INSTANTIATE_WIDE)
#undef ASSAY_INSTANTIATE_WIDE
#undef ASSAY_INSTANTIATE
#undef ASSAY_INSTANTIATE_NN

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
