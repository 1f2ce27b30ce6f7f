// RMSNorm backward. With z = x or x + addend, r[n] = 1 / sqrt(mean_d(z[n,d]^2) + eps):
//   dx[n,d]  = r[n] * (gain[d] * dy[n,d] - z[n,d] * r[n]^2 * mean_e(gain[e] * dy[n,e] * z[n,e]))
//   dgain[d] = sum_n dy[n,d] * z[n,d] * r[n]
//
//   x, addend  [N,D]  row-major, N = B*T, stored as S; addend may be absent (null)
//   gain       [D]    stored as S
//   dy, dx     [N,D]  stored as Grad (S or accum_t<S>), the only rounding to it; not one array
//   dgain      [D]    accum_t<S>; with `accumulate` added to what it holds
//   r          [1,N]  accum_t<S>, scratch, and parts [C,D], C = row_chunks(N): chunks of dgain
// Of several layers (NormLayers) all but x, gain and dgain have layers times as many rows, and r as
// many columns: a chunk is of one layer.
// Sums are accum_t<S>; x + addend is never rounded to S. dx is the gradient with respect to x and
// to addend.
// Launch: one warp per row for dx, one thread per column and chunk of rows, one per column. Any N,
// D >= 1.
// Longest addition chain ceil(D/32) + 5 for dx; min(N, kRowsPerChunk) - 1, then C for dgain.
// CPU counterpart: reference/ops/rms_norm.cpp
#include "cuda_impl/kernels/norm/norm_backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S, class Grad>
void rms_norm_backward(View<Grad, 2> dx, View<accum_t<S>, 1> dgain,
                       const NormScratch<accum_t<S>>& scratch, In<Grad, 2> dy, In<S, 2> x,
                       In<S, 2> addend, In<S, 1> gain, double eps, bool accumulate, Stream stream,
                       const NormLayers& layers) {
  launch_norm_backward<false, S>(dx, dgain, {}, scratch, dy, x, addend, gain, eps, accumulate,
                                 stream, layers);
}

#define ASSAY_INSTANTIATE(S, Grad)                                                          \
  template void rms_norm_backward<S>(View<Grad, 2>, View<accum_t<S>, 1>,                    \
                                     const NormScratch<accum_t<S>>&, In<Grad, 2>, In<S, 2>, \
                                     In<S, 2>, In<S, 1>, double, bool, Stream, const NormLayers&);
ASSAY_INSTANTIATE(float, float)
ASSAY_INSTANTIATE(simt::bf16, simt::bf16)
ASSAY_INSTANTIATE(simt::bf16, float)
ASSAY_INSTANTIATE(simt::f16, simt::f16)
ASSAY_INSTANTIATE(simt::f16, float)
ASSAY_INSTANTIATE(double, double)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
