// product_nn(), product_tn(): choose a rung by the rule of prefers_mma_backward
// (product_backward_rungs.h), on a GPU large products by cuBLASLt (cuda_impl/kernels/gemm/cublaslt_product.h).
// No kernel of its own.
#include "cuda_impl/kernels/gemm/product_backward_rungs.h"

#if defined(ASSAY_HAS_CUBLASLT)
#include "cuda_impl/kernels/gemm/cublaslt_product.h"
#endif

namespace assay::cuda {
inline namespace SIMT_BACKEND {

namespace {

constexpr int kSmallestTile = 64;

// By our own kernels, with factors read as F.
template <class S, class F, class Out>
void own_product_nn(View<Out, 2> dx, In<S, 2> dy, In<S, 2> w, bool accumulate, Stream stream,
                    const BackwardLayout& layout) {
  if constexpr (kHasMma<F>) {
    if (prefers_mma_backward<F>(w.shape[0], w.shape[1])) {
      product_nn_mma<S>(dx, dy, w, accumulate, stream, layout);
      return;
    }
  }
  product_nn_tiled<S, F>(dx, dy, w, accumulate, stream, layout);
}

template <class S, class F>
void own_product_tn(View<accum_t<S>, 2> dw, In<S, 2> dy, In<S, 2> x, bool accumulate, Stream stream,
                    const BackwardLayout& layout) {
  if constexpr (kHasMma<F>) {
    if (prefers_mma_backward<F>(dw.shape[0], dw.shape[1])) {
      product_tn_mma<S>(dw, dy, x, accumulate, stream, layout);
      return;
    }
  }
  product_tn_tiled<S, F>(dw, dy, x, accumulate, stream, layout);
}

}  // namespace

template <class S, class Out>
void product_nn(View<Out, 2> dx, In<S, 2> dy, In<S, 2> w, bool accumulate, Stream stream,
                Operands operands, const BackwardLayout& layout) {
  check_product_nn<S>("product_nn", dx, dy, w, layout, kSmallestTile);
  expect_operands<S>("product_nn", operands);
#if defined(ASSAY_HAS_CUBLASLT)
  if constexpr (!std::is_same_v<S, double>) {
    if (cublaslt_product_nn<S>(dx, dy, w, accumulate, operands, stream, layout)) return;
  }
#endif
  if constexpr (std::is_same_v<S, float>) {
    if (operands == Operands::tf32) {
      own_product_nn<S, simt::tf32>(dx, dy, w, accumulate, stream, layout);
      return;
    }
  }
  own_product_nn<S, S>(dx, dy, w, accumulate, stream, layout);
}

template <class S>
void product_tn(View<accum_t<S>, 2> dw, In<S, 2> dy, In<S, 2> x, bool accumulate, Stream stream,
                Operands operands, const BackwardLayout& layout) {
  check_product_tn<S>("product_tn", dw, dy, x, layout, kSmallestTile);
  expect_operands<S>("product_tn", operands);
#if defined(ASSAY_HAS_CUBLASLT)
  if constexpr (!std::is_same_v<S, double>) {
    if (cublaslt_product_tn<S>(dw, dy, x, accumulate, operands, stream, layout)) return;
  }
#endif
  if constexpr (std::is_same_v<S, float>) {
    if (operands == Operands::tf32) {
      own_product_tn<S, simt::tf32>(dw, dy, x, accumulate, stream, layout);
      return;
    }
  }
  own_product_tn<S, S>(dw, dy, x, accumulate, stream, layout);
}

#define ASSAY_INSTANTIATE_NN(S, Out)                                                    \
  template void product_nn<S>(View<Out, 2>, In<S, 2>, In<S, 2>, bool, Stream, Operands, \
                              const BackwardLayout&);
#define ASSAY_INSTANTIATE(S)                                                                   \
  ASSAY_INSTANTIATE_NN(S, S)                                                                   \
  template void product_tn<S>(View<accum_t<S>, 2>, In<S, 2>, In<S, 2>, bool, Stream, Operands, \
                              const BackwardLayout&);
#define ASSAY_INSTANTIATE_WIDE(S) ASSAY_INSTANTIATE_NN(S, accum_t<S>)
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
ASSAY_FOR_NARROW_TYPES(ASSAY_INSTANTIATE_WIDE)
#undef ASSAY_INSTANTIATE_WIDE
#undef ASSAY_INSTANTIATE
#undef ASSAY_INSTANTIATE_NN

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
