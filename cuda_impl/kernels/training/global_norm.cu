// Norm of all gradients together:  norm = sqrt(sum over arrays a and their elements i of a[i]^2)
//
//   arrays, sizes  device tables [count], the arrays stored as A (float or double)
//   parts          [count,slices]  A, scratch: how each array is cut decides the association
//   norm           [1]             A
// Two stages, every sum in a fixed order: no atomics, the same bits every time.
// Launch: one warp per slice, which takes every slices-th group of 32 elements; then one warp. Any
// count, slices >= 1; an array may be empty.
// Longest addition chain ceil(size/(32*slices)) + 5, then ceil(count*slices/32) + 5.
// CPU counterpart: none; plain loops in tests/cuda_impl/kernels/optimizer_cases.cpp
#include "cuda_impl/kernels/backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kWarpsPerBlock = 4;

template <class A>
__global__ void square_parts_kernel(A* __restrict__ parts, const A* const* __restrict__ arrays,
                                    const int64_t* __restrict__ sizes, int64_t all_slices,
                                    int slices) {
  const int64_t part = int64_t{blockIdx.x} * kWarpsPerBlock + threadIdx.y;
  const int lane = static_cast<int>(threadIdx.x);
  if (part >= all_slices) return;  // same for the whole warp, so warp_sum stays safe
  const A* array = arrays[part / slices];
  const int64_t size = sizes[part / slices];
  A sum = A(0);
  for (int64_t i = part % slices * 32 + lane; i < size; i += int64_t{slices} * 32) {
    sum += array[i] * array[i];
  }
  sum = simt::warp_sum(sum);
  if (lane == 0) parts[part] = sum;
}

template <class A>
__global__ void norm_kernel(A* __restrict__ norm, const A* __restrict__ parts, int64_t count) {
  const int lane = static_cast<int>(threadIdx.x);
  A sum = A(0);
  for (int64_t i = lane; i < count; i += 32) sum += parts[i];
  sum = simt::warp_sum(sum);
  if (lane == 0) norm[0] = simt::sqrt(sum);
}

}  // namespace

template <class A>
void global_norm(View<A, 1> norm, View<A, 2> parts, const A* const* arrays, const int64_t* sizes,
                 int64_t count, Stream stream) {
  const int64_t slices = parts.shape[1];
  expect_shape("global_norm", "norm [1]", norm, {1});
  expect_shape("global_norm", "parts [count,slices]", parts, {count, slices});
  expect_shape("global_norm", "arrays [count]", View<const A* const, 1>{arrays, {count}}, {count});
  expect_shape("global_norm", "sizes [count]", View<const int64_t, 1>{sizes, {count}}, {count});
  simt::launch(LaunchName("global_norm", parts.shape).text, square_parts_kernel<A>,
               dim3(blocks_for(count * slices, kWarpsPerBlock)), dim3(32, kWarpsPerBlock), 0,
               stream, parts.data, arrays, sizes, count * slices, slices);
  simt::launch(LaunchName("global_norm total", parts.shape).text, norm_kernel<A>, dim3(1), dim3(32),
               0, stream, norm.data, parts.data, count * slices);
}

#define ASSAY_INSTANTIATE(A)                                                                  \
  template void global_norm(View<A, 1>, View<A, 2>, const A* const*, const int64_t*, int64_t, \
                            Stream);
ASSAY_INSTANTIATE(float)
ASSAY_INSTANTIATE(double)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
