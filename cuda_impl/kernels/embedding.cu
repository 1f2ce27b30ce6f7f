// Embedding lookup:  y[n,d] = table[tokens[n],d]
//
//   tokens    [N]    N = B*T, in [0,V): the caller checks them, a kernel cannot say which is wrong
//   table     [V,D]  stored as S
//   y         [N,D]  stored as S, copied bit for bit
// Launch: one thread per element. Any N, D >= 1.
// Longest addition chain 0.
// CPU counterpart: reference/ops/embedding.cpp
#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kThreads = 256;

template <class S>
__global__ void embedding_kernel(S* __restrict__ y, const S* __restrict__ table,
                                 const int32_t* __restrict__ tokens, int64_t elements, int D) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= elements) return;
  y[i] = table[int64_t{tokens[i / D]} * D + i % D];
}

}  // namespace

template <class S>
void embedding(View<S, 2> y, In<S, 2> table, In<int32_t, 1> tokens, Stream stream) {
  const auto [N, D] = y.shape;
  expect_shape("embedding", "y [N,D]", y, {N, D});
  expect_shape("embedding", "table [V,D]", table, {table.shape[0], D});
  expect_shape("embedding", "tokens [N]", tokens, {N});
  simt::launch(LaunchName("embedding", y.shape).text, embedding_kernel<S>,
               dim3(blocks_for(N * D, kThreads)), dim3(kThreads), 0, stream, y.data, table.data,
               tokens.data, N * D, D);
}

template void embedding(View<float, 2>, In<float, 2>, In<int32_t, 1>, Stream);
template void embedding(View<simt::bf16, 2>, In<simt::bf16, 2>, In<int32_t, 1>, Stream);
template void embedding(View<double, 2>, In<double, 2>, In<int32_t, 1>, Stream);

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
