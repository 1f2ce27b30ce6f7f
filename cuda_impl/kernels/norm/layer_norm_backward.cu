// LayerNorm backward. With c[n,d] = s[n,d] - mean_d(s[n,d]), s = x or x + addend, z = c * r,
// r[n] = 1 / sqrt(mean_d(c[n,d]^2) + eps) and u[n,d] = gain[d] * dy[n,d]:
//   dx[n,d]  = r[n] * (u[n,d] - mean_e(u[n,e]) - z[n,d] * mean_e(u[n,e] * z[n,e]))
//   dgain[d] = sum_n dy[n,d] * z[n,d]
//   dbias[d] = sum_n dy[n,d]
//
//   x, addend  [N,D]  row-major, N = B*T, stored as S; addend may be absent (null)
//   gain       [D]    stored as S
//   dy, dx     [N,D]  stored as Grad (S or accum_t<S>), the only rounding to it; not one array
//   dgain, dbias      [D]     accum_t<S>; with `accumulate` added to what they hold
//   mean and r of s   [2,N]   accum_t<S>, scratch, and parts [2*C,D], C = row_chunks(N): chunks of
//                             dgain, then of dbias
// Of several layers (NormLayers) all but x and the weights have layers times as many rows,
// statistics as many columns: a chunk is of one layer.
// x + addend is never rounded to S. The mean, the variance (of the centred values) and all sums are
// accum_t<S>.
// Launch: one warp per row for dx, one thread per column and chunk of rows, one per column. Any N,
// D >= 1.
// Longest addition chain ceil(D/32) + 5 for dx; min(N, kRowsPerChunk) - 1, then C for the weights.
// CPU counterpart: reference/ops/layer_norm.cpp
#include "cuda_impl/kernels/norm/norm_backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S, class Grad>
void layer_norm_backward(View<Grad, 2> dx, View<accum_t<S>, 1> dgain, View<accum_t<S>, 1> dbias,
                         const NormScratch<accum_t<S>>& scratch, In<Grad, 2> dy, In<S, 2> x,
                         In<S, 2> addend, In<S, 1> gain, double eps, bool accumulate, Stream stream,
                         const NormLayers& layers) {
  launch_norm_backward<true, S>(dx, dgain, dbias, scratch, dy, x, addend, gain, eps, accumulate,
                                stream, layers);
}

#define ASSAY_INSTANTIATE(S, Grad)                                                             \
  template void layer_norm_backward<S>(                                                        \
      View<Grad, 2>, View<accum_t<S>, 1>, View<accum_t<S>, 1>, const NormScratch<accum_t<S>>&, \
      In<Grad, 2>, In<S, 2>, In<S, 2>, In<S, 1>, double, bool, Stream, const NormLayers&);
ASSAY_INSTANTIATE(float, float)
ASSAY_INSTANTIATE(simt::bf16, simt::bf16)
ASSAY_INSTANTIATE(simt::bf16, float)
ASSAY_INSTANTIATE(simt::f16, simt::f16)
ASSAY_INSTANTIATE(simt::f16, float)
ASSAY_INSTANTIATE(double, double)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
