// gemm(): chooses a variant by the rule of prefers_mma (gemm_variants.h), on a GPU large gemms by
// cuBLASLt (cuda_impl/kernels/gemm/cublaslt_gemm.h). No kernel of its own.
#include "cuda_impl/kernels/gemm/gemm_variants.h"

#if defined(ASSAY_HAS_CUBLASLT)
#include "cuda_impl/kernels/gemm/cublaslt_gemm.h"
#endif

namespace assay::cuda {
inline namespace SIMT_BACKEND {

namespace {

// By our own kernels, with factors read as F.
template <class S, class F, class Out>
void own_gemm(View<Out, 2> y, In<S, 2> x, In<S, 2> w, In<S, 1> bias, Stream stream,
              const GemmLayout& layout) {
  if constexpr (kHasMma<F>) {
    if (prefers_mma<F>(w.shape[0], w.shape[1])) {
      gemm_mma<S>(y, x, w, bias, stream, layout);
      return;
    }
  }
  gemm_tiled<S, F>(y, x, w, bias, stream, layout);
}

}  // namespace

template <class S, class Out>
void gemm(View<Out, 2> y, In<S, 2> x, In<S, 2> w, In<S, 1> bias, Stream stream, Operands operands,
          const GemmLayout& layout) {
  constexpr int kSmallestTile = 64;
  check_gemm<S>("gemm", y, x, w, bias, layout, kSmallestTile);
  expect_operands<S>("gemm", operands);
#if defined(ASSAY_HAS_CUBLASLT)
  if constexpr (!std::is_same_v<S, double>) {
    if (cublaslt_gemm<S>(y, x, w, bias, operands, stream, layout)) return;
  }
#endif
  if constexpr (std::is_same_v<S, float>) {
    if (operands == Operands::tf32) {
      own_gemm<S, simt::tf32>(y, x, w, bias, stream, layout);
      return;
    }
  }
  own_gemm<S, S>(y, x, w, bias, stream, layout);
}

#define ASSAY_INSTANTIATE(S)                                                        \
  template void gemm<S>(View<S, 2>, In<S, 2>, In<S, 2>, In<S, 1>, Stream, Operands, \
                        const GemmLayout&);
#define ASSAY_INSTANTIATE_WIDE(S)                                                            \
  template void gemm<S>(View<accum_t<S>, 2>, In<S, 2>, In<S, 2>, In<S, 1>, Stream, Operands, \
                        const GemmLayout&);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
ASSAY_FOR_NARROW_TYPES(ASSAY_INSTANTIATE_WIDE)
#undef ASSAY_INSTANTIATE_WIDE
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
