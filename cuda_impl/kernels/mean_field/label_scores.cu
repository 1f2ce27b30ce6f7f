// What a mean-field round adds up for the labels of a word, with damping:
//   Mz[n,d] = (1 - damping) (unary[n,d] + sum[n,d]) + damping before[n,d]
//   scores[n,d] = scale * Mz[n,d]
//
//   unary, sum  [N,D]  stored as S
//   message     [N,D]  accum_t<S>: holds `before`, then Mz; in the first round before = unary. Null
//                      without damping: neither read nor written
//   scores      [N,D]  stored as S, the only rounding to it
// Launch: one thread per element. Any N, D >= 1.
// Longest addition chain 2.
// CPU counterpart: reference/prob_transformer/prob_transformer.cpp (4),
// reference/ops/{add,scale}.cpp
#include "cuda_impl/kernels/mean_field.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kThreads = 256;

template <class S>
__global__ void label_scores_kernel(S* __restrict__ scores, accum_t<S>* __restrict__ message,
                                    const S* __restrict__ unary, const S* __restrict__ sum,
                                    accum_t<S> damping, accum_t<S> undamped, bool first,
                                    accum_t<S> scale, int64_t elements) {
  using A = accum_t<S>;
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= elements) return;
  A total = simt::to_accum(unary[i]) + simt::to_accum(sum[i]);
  if (message != nullptr) {
    total = undamped * total + damping * (first ? simt::to_accum(unary[i]) : message[i]);
    message[i] = total;
  }
  scores[i] = simt::from_accum<S>(scale * total);
}

}  // namespace

template <class S>
void label_scores(View<S, 2> scores, View<accum_t<S>, 2> message, In<S, 2> unary, In<S, 2> sum,
                  double damping, bool first, double scale, Stream stream) {
  const auto [N, D] = scores.shape;
  expect_shape("label_scores", "scores [N,D]", scores, {N, D});
  expect_shape("label_scores", "unary [N,D]", unary, {N, D});
  expect_shape("label_scores", "sum [N,D]", sum, {N, D});
  if (damping != 0) expect_shape("label_scores", "message [N,D]", message, {N, D});
  simt::launch(LaunchName("label_scores", scores.shape).text, label_scores_kernel<S>,
               dim3(blocks_for(N * D, kThreads)), dim3(kThreads), 0, stream, scores.data,
               damping == 0 ? nullptr : message.data, unary.data, sum.data, damping, 1 - damping,
               first, scale, N * D);
}

#define ASSAY_INSTANTIATE(S)                                                                       \
  template void label_scores<S>(View<S, 2>, View<accum_t<S>, 2>, In<S, 2>, In<S, 2>, double, bool, \
                                double, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
