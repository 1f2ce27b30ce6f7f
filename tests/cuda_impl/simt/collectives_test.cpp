// The warp collectives, indices and atomics do what the CUDA C++ Programming Guide says of them.
#include <boost/test/unit_test.hpp>
#include <vector>

#include "cuda_impl/simt/simt.h"
#include "needs_device.h"

namespace simt = assay::simt;

namespace {

constexpr int kThreads = 64;

template <class T>
std::vector<T> contents(const simt::Buffer<T>& buffer) {
  std::vector<T> values;
  buffer.to(values);
  return values;
}

// Runs a kernel in one block of kThreads and returns `count` outputs.
template <class T, class... A>
std::vector<T> run(const char* name, void (*kernel)(T*, A...), std::size_t count, A... args) {
  simt::Buffer<T> out(count);
  simt::launch(name, kernel, dim3(1), dim3(kThreads), 0, nullptr, out.get(), args...);
  return contents(out);
}

__global__ void shuffles(int* out, int width) {
  const int t = static_cast<int>(threadIdx.x);
  out[t] = __shfl_xor_sync(simt::kFullMask, t, 5, width);
  out[kThreads + t] = __shfl_down_sync(simt::kFullMask, t, 3u, width);
  out[2 * kThreads + t] = __shfl_up_sync(simt::kFullMask, t, 3u, width);
  out[3 * kThreads + t] = __shfl_sync(simt::kFullMask, t, 9, width);
}

}  // namespace

// A source outside the lane's segment gives its own value; xor alone may reach an earlier segment.
BOOST_AUTO_TEST_CASE(shuffles_stay_within_their_width) {
  for (const int width : {8, 16, 32}) {
    const std::vector<int> out = run("shuffles", shuffles, 4 * kThreads, width);
    for (int t = 0; t < kThreads; ++t) {
      const int lane = t % 32, warp = t - lane, segment = lane / width * width;
      const int crossed = lane ^ 5;
      BOOST_TEST(out[t] == (crossed >= segment + width ? t : warp + crossed));
      BOOST_TEST(out[kThreads + t] == (lane + 3 < segment + width ? t + 3 : t));
      BOOST_TEST(out[2 * kThreads + t] == (lane - 3 >= segment ? t - 3 : t));
      BOOST_TEST(out[3 * kThreads + t] == warp + segment + 9 % width);
    }
  }
}

namespace {
__global__ void votes(int* out) {
  const int t = static_cast<int>(threadIdx.x);
  out[t] = static_cast<int>(__ballot_sync(simt::kFullMask, t % 3 == 0));
  out[kThreads + t] = __any_sync(simt::kFullMask, t == 40);
  out[2 * kThreads + t] = __all_sync(simt::kFullMask, t < 40);
}
}  // namespace

BOOST_AUTO_TEST_CASE(votes_count_the_own_warp) {
  const std::vector<int> out = run("votes", votes, 3 * kThreads);
  for (int t = 0; t < kThreads; ++t) {
    const int warp = t / 32 * 32;
    unsigned ballot = 0;
    for (int lane = 0; lane < 32; ++lane) ballot |= unsigned{(warp + lane) % 3 == 0} << lane;
    BOOST_TEST(static_cast<unsigned>(out[t]) == ballot);
    BOOST_TEST(out[kThreads + t] == (warp == 32));
    BOOST_TEST(out[2 * kThreads + t] == (warp == 0));
  }
}

namespace {
__global__ void disjoint_masks(int* out) {
  const int t = static_cast<int>(threadIdx.x);
  if (t % 32 < 16) {
    out[t] = __shfl_xor_sync(0x0000ffffu, t, 1);
  } else {
    out[t] = __shfl_xor_sync(0xffff0000u, t, 2);
  }
}
}  // namespace

BOOST_AUTO_TEST_CASE(halves_of_a_warp_may_go_different_ways) {
  const std::vector<int> out = run("disjoint_masks", disjoint_masks, kThreads);
  for (int t = 0; t < kThreads; ++t) BOOST_TEST(out[t] == (t % 32 < 16 ? t ^ 1 : t ^ 2));
}

namespace {
__global__ void partial_last_warp(int* out) {
  SIMT_SHARED(int, s, 48);
  const int t = static_cast<int>(threadIdx.x);
  s[t] = t;
  __syncwarp();
  out[t] = s[t ^ 1];
}
}  // namespace

BOOST_AUTO_TEST_CASE(syncwarp_works_in_a_warp_that_is_not_full) {
  simt::Buffer<int> out(48);
  simt::launch("partial_last_warp", partial_last_warp, dim3(1), dim3(48), 0, nullptr, out.get());
  const std::vector<int> values = contents(out);
  for (int t = 0; t < 48; ++t) BOOST_TEST(values[t] == (t ^ 1));
}

namespace {

// Values whose sum depends on the association: out[t] fused, out[kThreads + t] by the shuffles it
// stands for.
template <class A>
SIMT_HD A unequal(unsigned t) {
  return A(1) / A(3 * t + 1) * (t % 5 == 0 ? A(-1000) : A(1));
}
template <class A>
__global__ void sums(A* out) {
  const unsigned t = threadIdx.x;
  A by_hand = unequal<A>(t);
  out[t] = simt::warp_sum(by_hand);
  for (int offset = 16; offset != 0; offset /= 2)
    by_hand += __shfl_xor_sync(simt::kFullMask, by_hand, offset);
  out[kThreads + t] = by_hand;
}
template <class A>
__global__ void maxima(A* out) {
  const unsigned t = threadIdx.x;
  out[t] = simt::warp_max(unequal<A>(t));
}

template <class A>
void check_reductions() {
  const std::vector<A> sum = run("sums", sums<A>, 2 * kThreads);
  const std::vector<A> maximum = run("maxima", maxima<A>, kThreads);
  for (unsigned t = 0; t < kThreads; ++t) {
    BOOST_TEST(sum[t] == sum[kThreads + t]);
    BOOST_TEST(maximum[t] == unequal<A>(t / 32 == 0 ? 1 : 32));
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(warp_reductions_have_the_bits_of_the_shuffle_butterfly) {
  check_reductions<float>();
  check_reductions<double>();
}

namespace {
__global__ void count_visits(int* out) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  atomicAdd(out + block * 24 + thread, 1);
}
__global__ void atomics(int* out) {
  atomicMax(out, static_cast<int>(threadIdx.x));
  atomicCAS(out + 1, 0, 7);
  atomicAdd(out + 2, 2);
  atomicExch(out + 3, 9);
}
__global__ void real_atomics(float* out, double* wide) {
  atomicAdd(out, 0.5f);
  atomicAdd(wide, 0.25);
}
}  // namespace

BOOST_AUTO_TEST_CASE(every_thread_of_a_three_dimensional_launch_runs_once) {
  simt::Buffer<int> out(30 * 24);
  out.zero();
  simt::launch("count_visits", count_visits, dim3(5, 3, 2), dim3(4, 3, 2), 0, nullptr, out.get());
  BOOST_TEST(contents(out) == std::vector<int>(30 * 24, 1), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(atomics_lose_nothing_across_blocks) {
  simt::Buffer<int> out(4);
  out.zero();
  simt::launch("atomics", atomics, dim3(4), dim3(100), 0, nullptr, out.get());
  BOOST_TEST(contents(out) == (std::vector<int>{99, 7, 800, 9}), boost::test_tools::per_element());
  simt::Buffer<float> sum(1);
  simt::Buffer<double> wide(1);
  sum.zero();
  wide.zero();
  simt::launch("real_atomics", real_atomics, dim3(4), dim3(100), 0, nullptr, sum.get(), wide.get());
  BOOST_TEST(contents(sum)[0] == 200.0f);
  BOOST_TEST(contents(wide)[0] == 100.0);
}
