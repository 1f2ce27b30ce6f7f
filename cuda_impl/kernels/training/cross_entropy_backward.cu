// Backward of cross_entropy.cu:
//   dlogits[b,t,v] = scale / counted * (softmax(logits[b,t])[v] - [v = labels[b,t+label_shift]])
// where (b,t) is counted (t + label_shift < T and labels[b,t+label_shift] != -100), else 0.
//
//   logits   [n,V]    of positions [first, first + n) of the B*T, stored as S
//   labels   [B,T]    in [0,V) or -100
//   counted  [1]      accum_t<S>: the counted positions of the batch, or of all micro-batches
//   dlogits  [n,V]    stored as S, the only rounding to it; may be logits itself
// The probabilities are streamed, in three passes over a row; no copy of them exists.
// Launch: one warp per position; one warp counts. No scratch memory.
// Longest addition chain ceil(V/32) + 5.
// CPU counterpart: reference/ops/cross_entropy.cpp
#include "cuda_impl/kernels/backward.h"
#include "cuda_impl/kernels/training/predicted_label.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kRowsPerBlock = 4;

template <class A>
__global__ void counted_positions_kernel(A* __restrict__ counted,
                                         const int32_t* __restrict__ labels, int N, int T,
                                         int label_shift) {
  const int lane = static_cast<int>(threadIdx.x);
  float count = 0.0f;  // exact up to 2^24 positions
  for (int n = lane; n < N; n += 32) {
    if (predicted_label(labels, n, T, label_shift) != kIgnoredLabel) count += 1.0f;
  }
  count = simt::warp_sum(count);
  if (lane == 0) counted[0] = A(count);
}

// dlogits may be logits: a lane writes what it alone reads, after the sums of the row.
template <class S>
__global__ void cross_entropy_backward_kernel(S* dlogits, const S* logits,
                                              const int32_t* __restrict__ labels,
                                              const accum_t<S>* __restrict__ counted, int first,
                                              int count, int T, int V, accum_t<S> scale,
                                              int label_shift) {
  using A = accum_t<S>;
  const int i = static_cast<int>(blockIdx.x * kRowsPerBlock + threadIdx.y);
  const int lane = static_cast<int>(threadIdx.x);
  if (i >= count) return;  // same for the whole warp
  const int32_t label = predicted_label(labels, first + i, T, label_shift);  // likewise
  S* out = dlogits + int64_t{i} * V;                                         // [V]
  if (label == kIgnoredLabel) {
    for (int v = lane; v < V; v += 32) out[v] = simt::from_accum<S>(A(0));
    return;
  }
  const S* row = logits + int64_t{i} * V;  // [V]

  A highest = kLowest<A>;
  for (int v = lane; v < V; v += 32) highest = simt::max(highest, simt::to_accum(row[v]));
  highest = simt::warp_max(highest);
  A sum = A(0);
  for (int v = lane; v < V; v += 32) sum += simt::exp(simt::to_accum(row[v]) - highest);
  sum = simt::warp_sum(sum);
  const A factor = scale / counted[0];
  for (int v = lane; v < V; v += 32) {
    const A probability = simt::exp(simt::to_accum(row[v]) - highest) / sum;
    out[v] = simt::from_accum<S>(factor * (v == label ? probability - A(1) : probability));
  }
}

}  // namespace

template <class A>
void counted_positions(View<A, 1> counted, In<int32_t, 2> labels, Stream stream, int label_shift) {
  const auto [B, T] = labels.shape;
  expect_shape("counted_positions", "labels [B,T]", labels, {B, T});
  expect_shape("counted_positions", "counted [1]", counted, {1});
  expect_at_most("counted_positions", "B*T", B * T, 1 << 24);
  simt::launch(LaunchName("counted_positions", labels.shape).text, counted_positions_kernel<A>,
               dim3(1), dim3(32), 0, stream, counted.data, labels.data, B * T, T, label_shift);
}

template <class S>
void cross_entropy_backward(View<S, 2> dlogits, In<S, 2> logits, int64_t first,
                            In<int32_t, 2> labels, In<accum_t<S>, 1> counted, double scale,
                            Stream stream, int label_shift) {
  const auto [n, V] = dlogits.shape;
  const auto [B, T] = labels.shape;
  expect_shape("cross_entropy_backward", "dlogits [n,V]", dlogits, {n, V});
  expect_shape("cross_entropy_backward", "logits [n,V]", logits, {n, V});
  expect_at_most("cross_entropy_backward", "first + n", first + n, B * T);
  expect_shape("cross_entropy_backward", "labels [B,T]", labels, {B, T});
  expect_shape("cross_entropy_backward", "counted [1]", counted, {1});
  expect_at_most("cross_entropy_backward", "B*T", B * T, INT_MAX - kRowsPerBlock);
  simt::launch(LaunchName("cross_entropy_backward", dlogits.shape).text,
               cross_entropy_backward_kernel<S>, dim3(blocks_for(n, kRowsPerBlock)),
               dim3(32, kRowsPerBlock), 0, stream, dlogits.data, logits.data, labels.data,
               counted.data, first, n, T, V, scale, label_shift);
}

template void counted_positions(View<float, 1>, In<int32_t, 2>, Stream, int);
template void counted_positions(View<double, 1>, In<int32_t, 2>, Stream, int);

#define ASSAY_INSTANTIATE(S)                                                          \
  template void cross_entropy_backward(View<S, 2>, In<S, 2>, int64_t, In<int32_t, 2>, \
                                       In<accum_t<S>, 1>, double, Stream, int);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
