// Which thread orders show which missing synchronisation in the values. What no order shows is
// TSan's to find: a fiber is not interrupted inside a read-modify-write.
#include <boost/test/unit_test.hpp>
#include <functional>
#include <vector>

#include "racy_kernels.h"

namespace simt = assay::simt;
using simt::host::Order;
using namespace assay::racy;

namespace {

constexpr int kSeeds = 100;

struct Case {
  const char* name;
  void (*kernel)(float*);
  unsigned blocks, threads;
  std::function<float(unsigned)> right;  // output i of a correct run
  bool in_forward, in_reverse;           // does the order show the fault?
  int fewest_seeds, most_seeds;          // how many of kSeeds random orders show it
};
float same(unsigned i) { return static_cast<float>(i); }

const std::vector<Case> kCases = {
    {"lower_neighbour", lower_neighbour, 1, kThreads, [](unsigned t) { return same(t) - 1; }, false,
     true, 100, 100},
    {"upper_neighbour", upper_neighbour, 1, kThreads, [](unsigned t) { return same(t + 1); }, true,
     false, 100, 100},
    {"one_pair", one_pair, 1, kThreads, [](unsigned t) { return t == 37 ? 12 : same(t); }, false,
     true, 25, 75},
    {"one_publishes", one_publishes, 1, kThreads, [](unsigned) { return 5.0f; }, false, true, 90,
     100},
    {"early_reuse", early_reuse, 1, kThreads,
     [](unsigned t) { return same((t + 96) % kThreads) + 3; }, true, true, 100, 100},
    {"warp_for_block", warp_for_block, 1, 64, [](unsigned t) { return same(t % 32); }, false, false,
     15, 75},
    {"block_chain", block_chain, kBlocks, 32, same, false, true, 100, 100},
    {"lost_update", lost_update, 1, kThreads, [](unsigned) { return same(kThreads); }, false, false,
     0, 0},
    {"same_value", same_value, 1, kThreads, [](unsigned) { return 3.0f; }, false, false, 0, 0},
};

bool shows_fault(const Case& c, Order order, std::uint64_t seed) {
  simt::host::config() = {.order = order, .seed = seed, .workers = 1};
  const unsigned outputs = c.blocks > 1 ? c.blocks : c.threads;
  simt::Buffer<float> out(outputs);
  simt::launch(c.name, c.kernel, dim3(c.blocks), dim3(c.threads), 0, nullptr, out.get());
  simt::host::config() = {};
  std::vector<float> values;
  out.to(values);
  for (unsigned i = 0; i < outputs; ++i) {
    if (values[i] != c.right(i)) return true;
  }
  return false;
}

}  // namespace

BOOST_AUTO_TEST_CASE(orders_show_what_they_can) {
  for (const Case& c : kCases) {
    BOOST_TEST_CONTEXT(c.name) {
      BOOST_TEST(shows_fault(c, Order::forward, 0) == c.in_forward);
      BOOST_TEST(shows_fault(c, Order::reverse, 0) == c.in_reverse);
      int shown = 0;
      for (std::uint64_t seed = 1; seed <= kSeeds; ++seed)
        shown += shows_fault(c, Order::random, seed);
      BOOST_TEST_MESSAGE(c.name << ": " << shown << " of " << kSeeds << " seeds show it");
      BOOST_TEST(shown >= c.fewest_seeds);
      BOOST_TEST(shown <= c.most_seeds);
    }
  }
}

namespace {

// Sums 64 values through shared memory; each of its barriers is needed.
__global__ void block_sum(float* out) {
  SIMT_SHARED(float, s, 64);
  const unsigned t = threadIdx.x;
  s[t] = static_cast<float>(t);
  for (unsigned half = 32; half > 0; half /= 2) {
    __syncthreads();  // the partial sums of the last round are complete
    const float other = t < half ? s[t + half] : 0.0f;
    if (t < half) s[t] += other;
  }
  __syncthreads();  // s[0] is complete
  out[t] = s[0];
}

bool sum_is_right() {
  simt::Buffer<float> out(64);
  simt::launch("block_sum", block_sum, dim3(1), dim3(64), 0, nullptr, out.get());
  std::vector<float> values;
  out.to(values);
  return values == std::vector<float>(64, 2016.0f);
}

}  // namespace

// Every barrier that ran is listed; dropping any one of them is noticed by some order, and only
// then.
BOOST_AUTO_TEST_CASE(each_dropped_barrier_is_noticed) {
  simt::host::forget_barrier_sites();
  simt::host::config() = {.record_sites = true};
  BOOST_TEST(sum_is_right());
  const auto sites = simt::host::barrier_sites_seen();
  BOOST_REQUIRE(sites.size() == 2u);
  for (const auto& site : sites) {
    BOOST_TEST(site.file.ends_with("schedules_test.cpp"));
    int noticed = 0;
    simt::host::reset_stats();
    for (const Order order : {Order::forward, Order::reverse}) {
      simt::host::config() = {
          .order = order, .skip_file = "schedules_test.cpp", .skip_line = site.line};
      noticed += !sum_is_right();
    }
    BOOST_TEST(noticed >= 1);
    BOOST_TEST(simt::host::stats().skipped_barriers > 0u);
  }
  // A file name counts from a whole path component.
  simt::host::reset_stats();
  simt::host::config() = {.skip_file = "test.cpp", .skip_line = sites[0].line};
  BOOST_TEST(sum_is_right());
  BOOST_TEST(simt::host::stats().skipped_barriers == 0u);
  simt::host::config() = {};
}
