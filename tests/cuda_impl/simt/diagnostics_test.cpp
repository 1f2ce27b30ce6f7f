// Misuse that a GPU answers with a hang or a wrong number ends the launch with an error that names
// the place.
#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

#include "cuda_impl/simt/simt.h"

namespace simt = assay::simt;

namespace {

// The message of a launch of one block, or "" when it succeeds.
std::string error_of(void (*kernel)(int*), unsigned threads, std::size_t smem_bytes = 0) {
  simt::Buffer<int> out(64);
  try {
    simt::launch("planted", kernel, dim3(1), dim3(threads), smem_bytes, nullptr, out.get());
  } catch (const simt::Error& error) {
    return error.what();
  }
  return "";
}

boost::test_tools::predicate_result contains(const std::string& text,
                                             const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    if (text.find(part) == std::string::npos) {
      boost::test_tools::predicate_result missing(false);
      missing.message() << "'" << part << "' is not in '" << text << "'";
      return missing;
    }
  }
  return true;
}

std::string here(int line) { return "diagnostics_test.cpp:" + std::to_string(line); }

// Lines of the barriers below, for the messages.
constexpr int kTwoBarriers = __LINE__ + 1;
__global__ void two_barriers(int* out) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    out[0] = 1;
    __syncthreads();
  }
}
constexpr int kEarlyExit = __LINE__ + 1;
__global__ void early_exit(int* out) {
  if (threadIdx.x >= 50) return;
  __syncthreads();
  out[threadIdx.x] = 1;
}
__global__ void late_barrier(int* out) {
  if (threadIdx.x < 50) return;
  __syncthreads();
  out[threadIdx.x] = 1;
}

}  // namespace

BOOST_AUTO_TEST_CASE(barriers_reached_from_two_places_are_diagnosed) {
  BOOST_TEST(
      contains(error_of(two_barriers, 64),
               {"planted: divergent barrier: thread (32,0,0) of block (0,0,0) is at __syncthreads",
                here(kTwoBarriers + 5), "others are at ", here(kTwoBarriers + 2)}));
}

BOOST_AUTO_TEST_CASE(leaving_while_others_wait_is_diagnosed) {
  BOOST_TEST(
      contains(error_of(early_exit, 64),
               {"planted: exit while others wait: thread (50,0,0) of block (0,0,0) has returned",
                "50 threads wait at __syncthreads", here(kEarlyExit + 2)}));
  BOOST_TEST(contains(error_of(late_barrier, 64),
                      {"divergent barrier: thread (50,0,0)", "50 threads have returned"}));
}

namespace {

__global__ void half_warp_shuffle(int* out) {
  int value = 1;
  if (threadIdx.x % 32 < 16) value = __shfl_xor_sync(simt::kFullMask, value, 1);
  out[threadIdx.x] = value;
}
__global__ void source_outside_mask(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffffu, 1, 20);
}
__global__ void not_in_own_mask(int* out) { out[0] = __shfl_sync(0xffffu, 1, 0); }
__global__ void full_mask(int* out) { out[0] = __shfl_sync(simt::kFullMask, 1, 0); }
__global__ void different_masks(int* out) {
  out[threadIdx.x] =
      __shfl_sync(threadIdx.x == 31 ? simt::kFullMask : 0x80000000u | 1u << threadIdx.x, 1, 31);
}
__global__ void different_collectives(int* out) {
  if (threadIdx.x % 2 == 1) {
    out[0] = __shfl_sync(simt::kFullMask, 1, 0);
  } else {
    out[1] = static_cast<int>(__ballot_sync(simt::kFullMask, 1));
  }
}
__global__ void odd_width(int* out) { out[0] = __shfl_sync(simt::kFullMask, 1, 0, 12); }
__global__ void warp_waits_for_block(int* out) {
  if (threadIdx.x < 16) {
    __syncthreads();
  } else {
    __syncwarp();
  }
  out[0] = 1;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_warp_that_does_not_come_together_is_listed) {
  BOOST_TEST(contains(
      error_of(half_warp_shuffle, 64),
      {"planted: deadlock: 0 threads at __syncthreads, 32 in warp collectives, 32 have returned",
       "thread (0,0,0) of block (0,0,0) at", "waits for mask 0xffffffff"}));
  BOOST_TEST(
      contains(error_of(warp_waits_for_block, 32),
               {"deadlock: 16 threads at __syncthreads, 16 in warp collectives, 0 have returned",
                "thread (0,0,0)", "thread (16,0,0)"}));
}

BOOST_AUTO_TEST_CASE(wrong_masks_sources_and_widths_are_diagnosed) {
  BOOST_TEST(contains(error_of(source_outside_mask, 32),
                      {"wrong shuffle source: lane 0 at", "reads lane 20", "mask 0x0000ffff"}));
  BOOST_TEST(contains(error_of(not_in_own_mask, 32),
                      {"wrong warp mask: thread (16,0,0)", "not in its own mask 0x0000ffff"}));
  BOOST_TEST(
      contains(error_of(full_mask, 20), {"wrong warp mask", "beyond the block of 20 threads"}));
  BOOST_TEST(contains(error_of(different_masks, 32), {"divergent warp collective", "with mask"}));
  BOOST_TEST(contains(error_of(different_collectives, 32),
                      {"divergent warp collective", "diagnostics_test.cpp"}));
  BOOST_TEST(contains(error_of(odd_width, 32), {"wrong shuffle width", "got 12"}));
}

namespace {

__global__ void differing_takes(int* out) {
  simt::Smem smem;
  const int* s = smem.take<int>(threadIdx.x == 0 ? 8 : 4);
  out[threadIdx.x] = s[0];
}
__global__ void takes_128_floats(int* out) {
  simt::Smem smem;
  float* s = smem.take<float>(128);
  s[threadIdx.x] = 1.0f;
  out[threadIdx.x] = 1;
}
__global__ void large_static(int* out) {
  SIMT_SHARED(int, s, 12289);
  s[threadIdx.x] = 1;
  out[threadIdx.x] = s[threadIdx.x];
}
__global__ void launches(int* out) {
  simt::launch("inner", takes_128_floats, dim3(1), dim3(1), 512, nullptr, out);
}

}  // namespace

BOOST_AUTO_TEST_CASE(shared_memory_misuse_is_diagnosed) {
  BOOST_TEST(contains(error_of(differing_takes, 32, 64), {"carve it differently: thread (1,0,0)",
                                                          "takes 16 bytes as array 0", "took 32"}));
  BOOST_TEST(contains(error_of(takes_128_floats, 32, 256),
                      {"overflow: the launch gives 256 bytes", "at least 512"}));
  BOOST_TEST(error_of(takes_128_floats, 32, simt::SmemSize{}.add<float>(128).bytes) == "");
  BOOST_TEST(contains(error_of(large_static, 32), {"expected at most 49152 bytes, got 49168"}));
}

BOOST_AUTO_TEST_CASE(launches_that_cuda_refuses_are_refused) {
  BOOST_TEST(contains(error_of(launches, 1), {"planted: inner: nested launch"}));
  BOOST_TEST(contains(error_of(full_mask, 2048),
                      {"planted: cudaErrorInvalidConfiguration: block (2048,1,1)"}));
  BOOST_TEST(contains(error_of(full_mask, 0), {"block (0,1,1)"}));
  BOOST_TEST(contains(error_of(full_mask, 32, 300000), {"cudaErrorInvalidValue", "got 300000"}));
  simt::Buffer<int> out(1);
  const auto launch_grid = [&](dim3 grid) {
    simt::launch("planted", full_mask, grid, dim3(32), 0, nullptr, out.get());
  };
  BOOST_CHECK_THROW(launch_grid(dim3(0)), simt::Error);
  BOOST_CHECK_THROW(launch_grid(dim3(1, 65536)), simt::Error);
}

namespace {
__global__ void unwritten(float* out) {
  SIMT_SHARED(float, s, 64);
  simt::Smem smem;
  const float* dynamic = smem.take<float>(64);
  if (threadIdx.x != 7) s[threadIdx.x] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = s[threadIdx.x];
  out[64 + threadIdx.x] = dynamic[threadIdx.x];
}
}  // namespace

BOOST_AUTO_TEST_CASE(what_was_never_written_is_nan) {
  simt::Buffer<float> out(192);
  for (int repeat = 0; repeat < 2; ++repeat) {  // the second launch reuses the memory of the first
    simt::launch("unwritten", unwritten, dim3(1), dim3(64), 256, nullptr, out.get());
    std::vector<float> values;
    out.to(values);
    for (int i = 0; i < 64; ++i) {
      BOOST_TEST((values[i] != values[i]) == (i == 7));
      BOOST_TEST(values[64 + i] != values[64 + i]);
      BOOST_TEST(values[128 + i] != values[128 + i]);
    }
  }
}

namespace {
__global__ void throws_unknown(int*) { throw 1; }
__global__ void exchange(int* out) {
  SIMT_SHARED(int, s, 64);
  const unsigned t = threadIdx.x;
  s[t] = static_cast<int>(t);
  __syncthreads();
  out[t] = s[t ^ 1u];
}
}  // namespace

// The threads that a failure abandons leave nothing behind.
BOOST_AUTO_TEST_CASE(a_good_launch_works_after_any_failure) {
  for (int repeat = 0; repeat < 5; ++repeat) {
    for (void (*planted)(int*) : {two_barriers, early_exit, half_warp_shuffle, throws_unknown}) {
      BOOST_TEST(error_of(planted, 64) != "");
      simt::Buffer<int> out(64);
      simt::launch("exchange", exchange, dim3(1), dim3(64), 0, nullptr, out.get());
      std::vector<int> values;
      out.to(values);
      for (int t = 0; t < 64; ++t) BOOST_TEST(values[t] == (t ^ 1));
    }
  }
}
