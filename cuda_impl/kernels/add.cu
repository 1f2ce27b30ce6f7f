// Sums of streams:  y = a + b,  y = a + b + c,  y = sum_{i<n} terms[i]  (i ascending)
//
//   a, b, c, y  [N,D]  stored as S
//   terms       device table [n] of arrays [N,D], stored as S
// Sums are accum_t<S>, left to right; the only rounding to S is the final store.
// Launch: one thread per element. Any N, D, n >= 1.
// Longest addition chain 1, 2, n - 1.
// CPU counterpart: reference/ops/add.cpp
#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kThreads = 256;

// c may be null: y = a + b.
template <class S>
__global__ void add_kernel(S* __restrict__ y, const S* __restrict__ a, const S* __restrict__ b,
                           const S* __restrict__ c, int64_t elements) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= elements) return;
  accum_t<S> sum = simt::to_accum(a[i]) + simt::to_accum(b[i]);
  if (c != nullptr) sum += simt::to_accum(c[i]);
  y[i] = simt::from_accum<S>(sum);
}

template <class S>
__global__ void add_n_kernel(S* __restrict__ y, const S* const* __restrict__ terms, int count,
                             int64_t elements) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= elements) return;
  accum_t<S> sum = simt::to_accum(terms[0][i]);
  for (int n = 1; n < count; ++n) sum += simt::to_accum(terms[n][i]);
  y[i] = simt::from_accum<S>(sum);
}

template <class S>
void launch_add(View<S, 2> y, In<S, 2> a, In<S, 2> b, const S* c, Stream stream) {
  const auto [N, D] = y.shape;
  expect_shape("add", "y [N,D]", y, {N, D});
  expect_shape("add", "a [N,D]", a, {N, D});
  expect_shape("add", "b [N,D]", b, {N, D});
  simt::launch(LaunchName("add", y.shape).text, add_kernel<S>, dim3(blocks_for(N * D, kThreads)),
               dim3(kThreads), 0, stream, y.data, a.data, b.data, c, N * D);
}

}  // namespace

template <class S>
void add(View<S, 2> y, In<S, 2> a, In<S, 2> b, Stream stream) {
  launch_add<S>(y, a, b, nullptr, stream);
}

template <class S>
void add(View<S, 2> y, In<S, 2> a, In<S, 2> b, In<S, 2> c, Stream stream) {
  expect_shape("add", "c [N,D]", c, {y.shape[0], y.shape[1]});
  launch_add<S>(y, a, b, c.data, stream);
}

template <class S>
void add_n(View<S, 2> y, const S* const* terms, int64_t count, Stream stream) {
  const auto [N, D] = y.shape;
  expect_shape("add_n", "y [N,D]", y, {N, D});
  expect_shape("add_n", "terms [n]", View<const S* const, 1>{terms, {count}}, {count});
  simt::launch(LaunchName("add_n", y.shape).text, add_n_kernel<S>,
               dim3(blocks_for(N * D, kThreads)), dim3(kThreads), 0, stream, y.data, terms, count,
               N * D);
}

#define ASSAY_INSTANTIATE(S)                                           \
  template void add(View<S, 2>, In<S, 2>, In<S, 2>, Stream);           \
  template void add(View<S, 2>, In<S, 2>, In<S, 2>, In<S, 2>, Stream); \
  template void add_n(View<S, 2>, const S* const*, int64_t, Stream);
ASSAY_INSTANTIATE(float)
ASSAY_INSTANTIATE(simt::bf16)
ASSAY_INSTANTIATE(double)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
