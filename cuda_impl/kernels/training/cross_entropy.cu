// Cross-entropy of the token `label_shift` positions on (the next one, or with 0 the position's
// own), mean over the counted positions, of all logits or of a tile of rows after the other:
//   losses[b,t] = log sum_v exp(logits[b,t,v]) - logits[b,t,labels[b,t+label_shift]]
//   loss        = sum over counted (b,t) of losses[b,t] / their number,  0 if there is none
// Counted: t + label_shift < T and labels[b,t+label_shift] != -100; the others have losses[b,t] =
// 0.
//
//   logits  [n,V]    of positions [first, first + n) of the B*T, stored as S
//   labels  [B,T]    in [0,V) or -100
//   losses  [B,T]    accum_t<S>
//   loss    [1]      accum_t<S>
// Launch: one warp per position, then one warp for the mean: no atomics, the same bits every time.
// Longest addition chain ceil(V/32) + 5 for a position, ceil(B*T/32) + 5 for the mean.
// CPU counterpart: reference/ops/cross_entropy.cpp
#include "cuda_impl/kernels/training/predicted_label.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kRowsPerBlock = 4;

template <class S>
__global__ void position_losses_kernel(accum_t<S>* __restrict__ losses,
                                       const S* __restrict__ logits,
                                       const int32_t* __restrict__ labels, int first, int count,
                                       int T, int V, int label_shift) {
  using A = accum_t<S>;
  const int i = static_cast<int>(blockIdx.x * kRowsPerBlock + threadIdx.y), n = first + i;
  const int lane = static_cast<int>(threadIdx.x);
  if (i >= count) return;                                            // same for the whole warp
  const int32_t label = predicted_label(labels, n, T, label_shift);  // likewise
  if (label == kIgnoredLabel) {
    if (lane == 0) losses[n] = A(0);
    return;
  }
  const S* row = logits + int64_t{i} * V;  // [V]

  A highest = kLowest<A>;
  for (int v = lane; v < V; v += 32) highest = simt::max(highest, simt::to_accum(row[v]));
  highest = simt::warp_max(highest);
  A sum = A(0);
  for (int v = lane; v < V; v += 32) sum += simt::exp(simt::to_accum(row[v]) - highest);
  sum = simt::warp_sum(sum);
  if (lane == 0) losses[n] = simt::log(sum) + (highest - simt::to_accum(row[label]));
}

template <class A>
__global__ void mean_loss_kernel(A* __restrict__ loss, const A* __restrict__ losses,
                                 const int32_t* __restrict__ labels, int N, int T,
                                 int label_shift) {
  const int lane = static_cast<int>(threadIdx.x);
  A sum = A(0);
  float counted = 0.0f;  // exact up to 2^24 positions
  for (int n = lane; n < N; n += 32) {
    sum += losses[n];
    if (predicted_label(labels, n, T, label_shift) != kIgnoredLabel) counted += 1.0f;
  }
  sum = simt::warp_sum(sum);
  counted = simt::warp_sum(counted);
  if (lane == 0) loss[0] = counted == 0.0f ? A(0) : sum / A(counted);
}

}  // namespace

template <class S>
void position_losses(View<accum_t<S>, 2> losses, In<S, 2> logits, int64_t first,
                     In<int32_t, 2> labels, Stream stream, int label_shift) {
  const auto [n, V] = logits.shape;
  const auto [B, T] = labels.shape;
  expect_shape("position_losses", "logits [n,V]", logits, {n, V});
  expect_shape("position_losses", "labels [B,T]", labels, {B, T});
  expect_shape("position_losses", "losses [B,T]", losses, {B, T});
  expect_at_most("position_losses", "B*T", B * T, 1 << 24);
  expect_at_most("position_losses", "first + n", first + n, B * T);
  simt::launch(LaunchName("position_losses", logits.shape).text, position_losses_kernel<S>,
               dim3(blocks_for(n, kRowsPerBlock)), dim3(32, kRowsPerBlock), 0, stream, losses.data,
               logits.data, labels.data, first, n, T, V, label_shift);
}

template <class A>
void mean_loss(View<A, 1> loss, In<A, 2> losses, In<int32_t, 2> labels, Stream stream,
               int label_shift) {
  const auto [B, T] = labels.shape;
  expect_shape("mean_loss", "labels [B,T]", labels, {B, T});
  expect_shape("mean_loss", "losses [B,T]", losses, {B, T});
  expect_shape("mean_loss", "loss [1]", loss, {1});
  expect_at_most("mean_loss", "B*T", B * T, 1 << 24);
  simt::launch(LaunchName("mean_loss", losses.shape).text, mean_loss_kernel<A>, dim3(1), dim3(32),
               0, stream, loss.data, losses.data, labels.data, B * T, T, label_shift);
}

template <class S>
void cross_entropy(View<accum_t<S>, 1> loss, View<accum_t<S>, 2> losses, In<S, 3> logits,
                   In<int32_t, 2> labels, Stream stream, int label_shift) {
  const auto [B, T, V] = logits.shape;
  position_losses<S>(losses, logits.as({B * T, V}), 0, labels, stream, label_shift);
  mean_loss(loss, losses, labels, stream, label_shift);
}

#define ASSAY_INSTANTIATE(S)                                                                       \
  template void position_losses<S>(View<accum_t<S>, 2>, In<S, 2>, int64_t, In<int32_t, 2>, Stream, \
                                   int);                                                           \
  template void cross_entropy<S>(View<accum_t<S>, 1>, View<accum_t<S>, 2>, In<S, 3>,               \
                                 In<int32_t, 2>, Stream, int);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE
#define ASSAY_INSTANTIATE(A) \
  template void mean_loss(View<A, 1>, In<A, 2>, In<int32_t, 2>, Stream, int);
ASSAY_FOR_ACCUMULATORS(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
