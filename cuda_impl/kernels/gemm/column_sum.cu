// Sums over rows, in two stages:
//   parts[c,d] = sum of x[n,d] over the kRowsPerChunk rows n of chunk c
//   out[d]     = sum_c parts[c,d]
//
//   x      [N,D]  row-major, stored as S
//   parts  [C,D]  accum_t<S>, C = row_chunks(N): scratch
//   out    [D]    accum_t<S>; with `accumulate` added to what it holds
// Both sums ascend, so the bits do not depend on the machine. Nothing is rounded to S.
// Of several layers, the second stage alone: parts [layers*C,D], an out of each.
// Launch: one thread per column and chunk, then one per column. Any N, D >= 1.
// Longest addition chain min(N, kRowsPerChunk) - 1, then C.
// CPU counterpart: reference/ops/query_bias.cpp (its gradient with respect to the bias)
#include "cuda_impl/kernels/backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kThreads = 128;

template <class S>
__global__ void column_parts_kernel(accum_t<S>* __restrict__ parts, const S* __restrict__ x, int N,
                                    int D) {
  using A = accum_t<S>;
  const int d = static_cast<int>(blockIdx.y * kThreads + threadIdx.x);
  if (d >= D) return;
  const int64_t first = int64_t{blockIdx.x} * kRowsPerChunk;
  const int64_t end = first + kRowsPerChunk < N ? first + kRowsPerChunk : N;
  A sum = A(0);
  for (int64_t n = first; n < end; ++n) sum += simt::to_accum(x[n * D + d]);
  parts[int64_t{blockIdx.x} * D + d] = sum;
}

template <class A>
__global__ void sum_parts_kernel(A* __restrict__ out, const A* __restrict__ parts, int C, int D,
                                 bool accumulate, int64_t out_stride) {
  const int d = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (d >= D) return;
  out += blockIdx.y * out_stride;
  parts += int64_t{blockIdx.y} * C * D;
  A sum = A(0);
  for (int c = 0; c < C; ++c) sum += parts[int64_t{c} * D + d];
  out[d] = accumulate ? out[d] + sum : sum;
}

}  // namespace

template <class A>
void sum_parts(View<A, 1> out, In<A, 2> parts, bool accumulate, Stream stream, int64_t layers,
               int64_t out_stride) {
  const int64_t D = out.shape[0];
  expect_at_most("sum_parts", "layers", layers, 65535);
  const int64_t C = parts.shape[0] / layers;
  expect_shape("sum_parts", "parts [layers*C,D]", parts, {layers * C, D});
  expect_shape("sum_parts", "out [D]", out, {D});
  simt::launch(LaunchName("sum_parts", parts.shape).text, sum_parts_kernel<A>,
               dim3(blocks_for(D, kThreads), static_cast<unsigned>(layers)), dim3(kThreads), 0,
               stream, out.data, parts.data, C, D, accumulate, out_stride);
}

template <class S>
void column_sum(View<accum_t<S>, 1> out, View<accum_t<S>, 2> parts, In<S, 2> x, bool accumulate,
                Stream stream) {
  const auto [N, D] = x.shape;
  const int64_t C = row_chunks(N);
  expect_shape("column_sum", "x [N,D]", x, {N, D});
  expect_shape("column_sum", "parts [C,D]", parts, {C, D});
  expect_shape("column_sum", "out [D]", out, {D});
  simt::launch(LaunchName("column_sum", x.shape).text, column_parts_kernel<S>,
               dim3(static_cast<unsigned>(C), blocks_for(D, kThreads)), dim3(kThreads), 0, stream,
               parts.data, x.data, N, D);
  sum_parts<accum_t<S>>(out, parts, accumulate, stream);
}

template void sum_parts(View<float, 1>, In<float, 2>, bool, Stream, int64_t, int64_t);
template void sum_parts(View<double, 1>, In<double, 2>, bool, Stream, int64_t, int64_t);

#define ASSAY_INSTANTIATE(S) \
  template void column_sum<S>(View<accum_t<S>, 1>, View<accum_t<S>, 2>, In<S, 2>, bool, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
