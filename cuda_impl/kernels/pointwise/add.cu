// Sums of streams:  y = a + b + c,  y = scale (sum_{i<n} w[i] terms[i] + w[n] last),
//                   y = x + sum_{j<n} c_j bias_j + own_weight own
//
//   a, b, c, y  [N,D]  stored as S; c, or c and b, may be null: no such term
//   terms       device table [n] of arrays [N,D], stored as S; i ascending
//   last        [N,D] stored as S, or null: no such term
//   w           [n+1] accum_t<S>, or null: all 1
//   x           [N,D] accum_t<S>
//   bias_j      [D] stored as S, or null: none; c_j is what term j was multiplied by
//   own         [N,D] stored as S, or null: no such term
// Sums are accum_t<S>, left to right; the only rounding to S is the final store.
// Launch: one thread per element. Any N, D, n >= 1.
// Longest addition chain 2, n, n + 1.
// CPU counterpart: reference/ops/add.cpp
#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kThreads = 256;

template <class S>
__global__ void add_kernel(S* __restrict__ y, const S* __restrict__ a, const S* __restrict__ b,
                           const S* __restrict__ c, int64_t elements) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= elements) return;
  accum_t<S> sum = simt::to_accum(a[i]);
  if (b != nullptr) sum += simt::to_accum(b[i]);
  if (c != nullptr) sum += simt::to_accum(c[i]);
  y[i] = simt::from_accum<S>(sum);
}

template <class S>
__global__ void add_n_kernel(S* __restrict__ y, const S* const* __restrict__ terms, int count,
                             const S* __restrict__ last, const accum_t<S>* __restrict__ weights,
                             accum_t<S> scale, int64_t elements) {
  using A = accum_t<S>;
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= elements) return;
  const auto term = [&](const S* x, int n) {
    return weights == nullptr ? simt::to_accum(x[i]) : weights[n] * simt::to_accum(x[i]);
  };
  A sum = term(terms[0], 0);
  for (int n = 1; n < count; ++n) sum += term(terms[n], n);
  if (last != nullptr) sum += term(last, count);
  y[i] = simt::from_accum<S>(scale * sum);
}

template <class S>
__global__ void sum_epilogue_kernel(S* __restrict__ y, const accum_t<S>* __restrict__ x,
                                    TermBiases<S> biases, TermWeights<accum_t<S>> terms,
                                    const S* __restrict__ own, accum_t<S> own_weight, int D,
                                    int64_t elements) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= elements) return;
  accum_t<S> sum = x[i];
  for (int64_t j = 0; biases.data != nullptr && j < biases.count; ++j) {
    sum += terms.of(j) * simt::to_accum(biases.data[j * biases.stride + i % D]);
  }
  if (own != nullptr) sum += own_weight * simt::to_accum(own[i]);
  y[i] = simt::from_accum<S>(sum);
}

}  // namespace

template <class S>
void add(View<S, 2> y, In<S, 2> a, In<S, 2> b, In<S, 2> c, Stream stream) {
  const auto [N, D] = y.shape;
  expect_shape("add", "y [N,D]", y, {N, D});
  expect_shape("add", "a [N,D]", a, {N, D});
  if (b.data != nullptr || c.data != nullptr) expect_shape("add", "b [N,D]", b, {N, D});
  if (c.data != nullptr) expect_shape("add", "c [N,D]", c, {N, D});
  simt::launch(LaunchName("add", y.shape).text, add_kernel<S>, dim3(blocks_for(N * D, kThreads)),
               dim3(kThreads), 0, stream, y.data, a.data, b.data, c.data, N * D);
}

template <class S>
void add_n(View<S, 2> y, const S* const* terms, int64_t count, const S* last,
           const accum_t<S>* weights, double scale, Stream stream) {
  const auto [N, D] = y.shape;
  expect_shape("add_n", "y [N,D]", y, {N, D});
  expect_shape("add_n", "terms [n]", View<const S* const, 1>{terms, {count}}, {count});
  simt::launch(LaunchName("add_n", y.shape).text, add_n_kernel<S>,
               dim3(blocks_for(N * D, kThreads)), dim3(kThreads), 0, stream, y.data, terms, count,
               last, weights, scale, N * D);
}

template <class S>
void sum_epilogue(View<S, 2> y, In<accum_t<S>, 2> x, const TermBiases<S>& biases,
                  const TermWeights<accum_t<S>>& terms, const S* own, double own_weight,
                  Stream stream) {
  const auto [N, D] = y.shape;
  expect_shape("sum_epilogue", "y [N,D]", y, {N, D});
  expect_shape("sum_epilogue", "x [N,D]", x, {N, D});
  simt::launch(LaunchName("sum_epilogue", y.shape).text, sum_epilogue_kernel<S>,
               dim3(blocks_for(N * D, kThreads)), dim3(kThreads), 0, stream, y.data, x.data, biases,
               terms, own, own_weight, D, N * D);
}

#define ASSAY_INSTANTIATE(S)                                                                     \
  template void add(View<S, 2>, In<S, 2>, In<S, 2>, In<S, 2>, Stream);                           \
  template void add_n(View<S, 2>, const S* const*, int64_t, const S*, const accum_t<S>*, double, \
                      Stream);                                                                   \
  template void sum_epilogue(View<S, 2>, In<accum_t<S>, 2>, const TermBiases<S>&,                \
                             const TermWeights<accum_t<S>>&, const S*, double, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
