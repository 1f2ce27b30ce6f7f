// Embedding lookup. With n = b*T + t and p = position_offset[b] + t:
//   y[n,d] = table[tokens[n],d] (+ positions[p,d])
//
//   tokens           [B,T]  in [0,V): the caller checks them, a kernel cannot say which is wrong
//   table            [V,D]  stored as S
//   positions        [P,D]  stored as S, learned, P >= T; or null: none. Of p >= P the last row's
//   position_offset  [B]    or null: 0
//   y                [N,D]  stored as S, N = B*T; without positions copied bit for bit
// Launch: one thread per element. Any N, D >= 1.
// Longest addition chain 1.
// CPU counterpart: reference/ops/embedding.cpp
#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kThreads = 256;

template <class S>
__global__ void embedding_kernel(S* __restrict__ y, const S* __restrict__ table,
                                 const S* __restrict__ positions,
                                 const int32_t* __restrict__ tokens,
                                 const int32_t* __restrict__ position_offset, int64_t elements,
                                 int T, int P, int D) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= elements) return;
  const int64_t n = i / D, d = i % D;
  const S row = table[tokens[n] * int64_t{D} + d];
  if (positions == nullptr) {
    y[i] = row;
  } else {
    const int position = position_of(position_offset, n / T, static_cast<int>(n % T), P);
    const S added = positions[int64_t{position} * D + d];
    y[i] = simt::from_accum<S>(simt::to_accum(row) + simt::to_accum(added));
  }
}

}  // namespace

template <class S>
void embedding(View<S, 2> y, In<S, 2> table, In<S, 2> positions, In<int32_t, 2> tokens,
               const int32_t* position_offset, Stream stream) {
  const auto [N, D] = y.shape;
  const auto [B, T] = tokens.shape;
  expect_shape("embedding", "y [N,D]", y, {N, D});
  expect_shape("embedding", "table [V,D]", table, {table.shape[0], D});
  expect_shape("embedding", "tokens [B,T]", tokens, {B, T});
  expect_shape("embedding", "y [B*T,D]", y, {B * T, D});
  if (positions.data != nullptr) {
    expect_at_most("embedding", "T", T, positions.shape[0]);
    expect_shape("embedding", "positions [P,D]", positions, {positions.shape[0], D});
  }
  simt::launch(LaunchName("embedding", y.shape).text, embedding_kernel<S>,
               dim3(blocks_for(N * D, kThreads)), dim3(kThreads), 0, stream, y.data, table.data,
               positions.data, tokens.data, position_offset, N * D, T, positions.shape[0], D);
}

#define ASSAY_INSTANTIATE(S) \
  template void embedding(View<S, 2>, In<S, 2>, In<S, 2>, In<int32_t, 2>, const int32_t*, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
