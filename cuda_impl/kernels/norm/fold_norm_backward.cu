// The gradients of fold_norm.cu with respect to what it folds, added to what the outputs hold:
//   dw[m,k]   += dy[m,k] * gain[k] + dy_bias[m] * shift[k]
//   dgain[k]  += sum_m dy[m,k] * w[m,k]
//   dshift[k] += sum_m dy_bias[m] * w[m,k]
//
//   dy, dw              [M,K]  row-major, accum_t<S>
//   dy_bias             [M]    accum_t<S>; null with shift
//   w                   [M,K]  row-major, stored as S
//   gain, shift         [K]    stored as S; null: 1, 0
//   dgain, dshift       [K]    accum_t<S>; null with gain, shift
// Sums are accum_t<S>, m ascending; nothing is rounded to S. Launch: one thread per column. Any M,
// K >= 1.
// Longest addition chain M for dgain and dshift, 2 for dw.
#include "cuda_impl/kernels/backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kThreads = 128;

template <class S>
__global__ void fold_norm_backward_kernel(accum_t<S>* __restrict__ dw,
                                          accum_t<S>* __restrict__ dgain,
                                          accum_t<S>* __restrict__ dshift,
                                          const accum_t<S>* __restrict__ dy,
                                          const accum_t<S>* __restrict__ dy_bias,
                                          const S* __restrict__ w, const S* __restrict__ gain,
                                          const S* __restrict__ shift, int M, int K) {
  using A = accum_t<S>;
  const int k = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (k >= K) return;
  const A scale = gain == nullptr ? A(1) : simt::to_accum(gain[k]);
  A gain_sum = A(0), shift_sum = A(0);
  for (int m = 0; m < M; ++m) {
    const int64_t i = int64_t{m} * K + k;
    const A grad = dy[i], weight = simt::to_accum(w[i]);
    gain_sum += grad * weight;
    A sum = grad * scale;
    if (shift != nullptr) {
      sum += dy_bias[m] * simt::to_accum(shift[k]);
      shift_sum += dy_bias[m] * weight;
    }
    dw[i] += sum;
  }
  if (dgain != nullptr) dgain[k] += gain_sum;
  if (dshift != nullptr) dshift[k] += shift_sum;
}

}  // namespace

template <class S>
void fold_norm_backward(View<accum_t<S>, 2> dw, View<accum_t<S>, 1> dgain,
                        View<accum_t<S>, 1> dshift, In<accum_t<S>, 2> dy, In<accum_t<S>, 1> dy_bias,
                        In<S, 2> w, In<S, 1> gain, In<S, 1> shift, Stream stream) {
  constexpr const char* kName = "fold_norm_backward";
  const auto [M, K] = w.shape;
  expect_shape(kName, "w [M,K]", w, {M, K});
  expect_shape(kName, "dw [M,K]", dw, {M, K});
  expect_shape(kName, "dy [M,K]", dy, {M, K});
  if (gain.data != nullptr) {
    expect_shape(kName, "gain [K]", gain, {K});
    expect_shape(kName, "dgain [K]", dgain, {K});
  }
  if (shift.data != nullptr) {
    expect_shape(kName, "shift [K]", shift, {K});
    expect_shape(kName, "dshift [K]", dshift, {K});
    expect_shape(kName, "dy_bias [M]", dy_bias, {M});
  }
  simt::launch(LaunchName(kName, w.shape).text, fold_norm_backward_kernel<S>,
               dim3(blocks_for(K, kThreads)), dim3(kThreads), 0, stream, dw.data,
               gain.data == nullptr ? nullptr : dgain.data,
               shift.data == nullptr ? nullptr : dshift.data, dy.data, dy_bias.data, w.data,
               gain.data, shift.data, M, K);
}

#define ASSAY_INSTANTIATE(S)                                                                     \
  template void fold_norm_backward<S>(View<accum_t<S>, 2>, View<accum_t<S>, 1>,                  \
                                      View<accum_t<S>, 1>, In<accum_t<S>, 2>, In<accum_t<S>, 1>, \
                                      In<S, 2>, In<S, 1>, In<S, 1>, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
