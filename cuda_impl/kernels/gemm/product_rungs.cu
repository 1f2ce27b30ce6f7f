// product(): chooses a rung by the rule of prefers_mma (product_rungs.h), on a GPU large products by
// cuBLASLt (cuda_impl/kernels/gemm/cublaslt_product.h). No kernel of its own.
#include "cuda_impl/kernels/gemm/product_rungs.h"

#if defined(ASSAY_HAS_CUBLASLT)
#include "cuda_impl/kernels/gemm/cublaslt_product.h"
#endif

namespace assay::cuda {
inline namespace SIMT_BACKEND {

namespace {

// By our own kernels, with factors read as F.
template <class S, class F, class Out>
void own_product(View<Out, 2> y, In<S, 2> x, In<S, 2> w, In<S, 1> bias, Stream stream,
                 const ProductLayout& layout) {
  if constexpr (kHasMma<F>) {
    if (prefers_mma<F>(w.shape[0], w.shape[1])) {
      product_mma<S>(y, x, w, bias, stream, layout);
      return;
    }
  }
  product_tiled<S, F>(y, x, w, bias, stream, layout);
}

}  // namespace

template <class S, class Out>
void product(View<Out, 2> y, In<S, 2> x, In<S, 2> w, In<S, 1> bias, Stream stream,
             Operands operands, const ProductLayout& layout) {
  constexpr int kSmallestTile = 64;
  check_product<S>("product", y, x, w, bias, layout, kSmallestTile);
  expect_operands<S>("product", operands);
#if defined(ASSAY_HAS_CUBLASLT)
  if constexpr (!std::is_same_v<S, double>) {
    if (cublaslt_product<S>(y, x, w, bias, operands, stream, layout)) return;
  }
#endif
  if constexpr (std::is_same_v<S, float>) {
    if (operands == Operands::tf32) {
      own_product<S, simt::tf32>(y, x, w, bias, stream, layout);
      return;
    }
  }
  own_product<S, S>(y, x, w, bias, stream, layout);
}

#define ASSAY_INSTANTIATE(S)                                                           \
  template void product<S>(View<S, 2>, In<S, 2>, In<S, 2>, In<S, 1>, Stream, Operands, \
                           const ProductLayout&);
#define ASSAY_INSTANTIATE_WIDE(S)                                                               \
  template void product<S>(View<accum_t<S>, 2>, In<S, 2>, In<S, 2>, In<S, 1>, Stream, Operands, \
                           const ProductLayout&);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
ASSAY_FOR_NARROW_TYPES(ASSAY_INSTANTIATE_WIDE)
#undef ASSAY_INSTANTIATE_WIDE
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
