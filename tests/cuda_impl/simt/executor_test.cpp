// Orders, workers and counters of the host executor, and a scalar that is more than a number.
#include <boost/test/unit_test.hpp>
#include <thread>
#include <vector>

#include "cuda_impl/simt/simt.h"

namespace simt = assay::simt;
using simt::host::Order;

namespace {

#if defined(__SANITIZE_THREAD__)
constexpr unsigned kBlocks = 8;  // a thread costs TSan about half a millisecond
#else
constexpr unsigned kBlocks = 64;
#endif
constexpr unsigned kThreads = 64;

// out[b] = sum over t of (b + 1) / (t + 1), by warps and then by thread 0.
template <class S>
__global__ void block_sums(S* out) {
  using A = simt::accum_t<S>;
  SIMT_SHARED(A, partial, kThreads / 32);
  const unsigned t = threadIdx.x;
  const A sum =
      simt::warp_sum(A(static_cast<float>(blockIdx.x + 1)) / A(static_cast<float>(t + 1)));
  if (t % 32 == 0) partial[t / 32] = sum;
  __syncthreads();
  if (t == 0) out[blockIdx.x] = simt::from_accum<S>(partial[0] + partial[1]);
}

std::vector<float> sums_under(const simt::host::Config& config) {
  simt::host::config() = config;
  simt::Buffer<float> out(kBlocks);
  simt::launch("block_sums", block_sums<float>, dim3(kBlocks), dim3(kThreads), 0, nullptr,
               out.get());
  simt::host::config() = {};
  std::vector<float> values;
  out.to(values);
  return values;
}

}  // namespace

BOOST_AUTO_TEST_CASE(
    a_correct_kernel_has_the_same_bits_in_every_order_and_on_any_number_of_workers) {
  const std::vector<float> want = sums_under({.workers = 1});
  BOOST_TEST(want[0] == 4.7438909f,
             boost::test_tools::tolerance(1e-6f));  // the 64th harmonic number
  for (const int workers : {0, 1, 2, 100}) {
    BOOST_TEST(sums_under({.order = Order::forward, .workers = workers}) == want);
    BOOST_TEST(sums_under({.order = Order::reverse, .workers = workers}) == want);
    for (std::uint64_t seed = 0; seed < 3; ++seed) {
      BOOST_TEST(sums_under({.order = Order::random, .seed = seed, .workers = workers}) == want);
    }
  }
}

BOOST_AUTO_TEST_CASE(counters_count_what_ran) {
  simt::host::reset_stats();
  sums_under({});
  const simt::host::Stats stats = simt::host::stats();
  BOOST_TEST(stats.blocks == kBlocks);
  BOOST_TEST(stats.threads == kBlocks * kThreads);
  BOOST_TEST(stats.block_barriers == kBlocks);
  BOOST_TEST(stats.warp_collectives == kBlocks * 2);
  BOOST_TEST(stats.skipped_barriers == 0u);
}

namespace {
__global__ void write_index(unsigned* out) { out[threadIdx.x] = threadIdx.x; }
}  // namespace

// Threads that never wait run one after the other on one stack; the single switch is the way back.
BOOST_AUTO_TEST_CASE(a_kernel_without_barriers_does_not_switch) {
  simt::host::reset_stats();
  simt::Buffer<unsigned> out(256);
  simt::launch("write_index", write_index, dim3(1), dim3(256), 0, nullptr, out.get());
#if !defined(__SANITIZE_THREAD__)  // to TSan every CUDA thread is a thread
  BOOST_TEST(simt::host::stats().switches == 1u);
#endif
  std::vector<unsigned> values;
  out.to(values);
  for (unsigned t = 0; t < 256; ++t) BOOST_TEST(values[t] == t);
}

#if !defined(__SANITIZE_THREAD__)  // TSan's fibers belong to one OS thread
BOOST_AUTO_TEST_CASE(threads_of_the_host_may_launch_at_the_same_time) {
  const std::vector<float> want = sums_under({});
  std::vector<std::vector<float>> got(8);
  std::vector<std::thread> launchers;
  for (auto& result : got) {
    launchers.emplace_back([&result] {
      for (int repeat = 0; repeat < 20; ++repeat) {
        simt::Buffer<float> out(kBlocks);
        simt::launch("block_sums", block_sums<float>, dim3(kBlocks), dim3(kThreads), 0, nullptr,
                     out.get());
        out.to(result);
      }
    });
  }
  for (std::thread& launcher : launchers) launcher.join();
  for (const auto& result : got) BOOST_TEST(result == want);
}
#endif

namespace {

// A number and the set of source blocks it depends on.
struct Tagged {
  double value;
  std::uint64_t tags;
  Tagged() = default;
  Tagged(float v, std::uint64_t t = 0) : value(v), tags(t) {}
};
Tagged with(double value, std::uint64_t tags) {
  Tagged result;
  result.value = value;
  result.tags = tags;
  return result;
}
Tagged operator+(Tagged a, Tagged b) { return with(a.value + b.value, a.tags | b.tags); }

}  // namespace

namespace assay::simt {
template <>
struct on_host::ScalarHooks<Tagged> {
  static Tagged exp(Tagged x) { return with(std::exp(x.value), x.tags); }
  static Tagged max(Tagged a, Tagged b) {
    return with(std::fmax(a.value, b.value), a.tags | b.tags);
  }
};
}  // namespace assay::simt

namespace {
__global__ void tagged_reductions(Tagged* out) {
  SIMT_SHARED(Tagged, s, 32);
  const unsigned t = threadIdx.x;
  s[t] = Tagged(static_cast<float>(t), std::uint64_t{1} << t);
  __syncwarp();
  out[t] = simt::warp_sum(s[t]);
  out[32 + t] = simt::warp_max(s[t]);
  out[64 + t] = __shfl_xor_sync(simt::kFullMask, s[t], 1);
  atomicAdd(&out[96], s[t]);
  if (t == 0) out[97] = simt::exp(s[0]);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_scalar_with_hooks_passes_through_collectives_and_atomics) {
  simt::Buffer<Tagged> out(98);
  out.zero();
  simt::launch("tagged_reductions", tagged_reductions, dim3(1), dim3(32), 0, nullptr, out.get());
  std::vector<Tagged> values;
  out.to(values);
  for (unsigned t = 0; t < 32; ++t) {
    BOOST_TEST(values[t].value == 496.0);
    BOOST_TEST(values[t].tags == 0xffffffffu);
    BOOST_TEST(values[32 + t].value == 31.0);
    BOOST_TEST(values[32 + t].tags == 0xffffffffu);
    BOOST_TEST(values[64 + t].tags == std::uint64_t{1} << (t ^ 1u));
  }
  BOOST_TEST(values[96].value == 496.0);
  BOOST_TEST(values[96].tags == 0xffffffffu);
  BOOST_TEST(values[97].value == 1.0);
  BOOST_TEST(values[97].tags == 1u);
}
