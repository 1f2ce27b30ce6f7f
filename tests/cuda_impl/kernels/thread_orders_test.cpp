// Every kernel under every thread order, and without each of its barriers.
#include <boost/test/unit_test.hpp>
#include <map>

#include "cases.h"

using namespace assay::kernel_test;
using simt::host::Order;

namespace {

constexpr uint64_t kSeeds = 22;

// forward, reverse and kSeeds random orders
std::vector<simt::host::Config> orders() {
  std::vector<simt::host::Config> all{{.order = Order::forward, .workers = 1},
                                      {.order = Order::reverse, .workers = 1}};
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    all.push_back({.order = Order::random, .seed = seed, .workers = 1});
  }
  return all;
}

Values run_with(const simt::host::Config& config, const Case& c) {
  simt::host::config() = config;
  struct Restore {
    ~Restore() { simt::host::config() = {}; }
  } restore;
  return c.run();
}

// What meets every thread order: all kernels in float, and those for 16-bit types alone in bf16.
std::vector<Case> ordered_cases() {
  std::vector<Case> cases = all_cases<float>();
  for (Case& c : all_cases<simt::bf16>()) {
    if (c.kernel.ends_with("_mma")) cases.push_back(std::move(c));
  }
  return cases;
}

}  // namespace

// The result does not depend on which thread runs first: no atomics, no race that shows.
BOOST_AUTO_TEST_CASE(bitwise_the_same_in_every_thread_order) {
  for (const Case& c : ordered_cases()) {
    BOOST_TEST_CONTEXT(c.kernel << " " << c.shape) {
      const Values first = run_with({}, c);
      for (const simt::host::Config& order : orders()) {
        BOOST_TEST(same_bits(run_with(order, c), first),
                   "order " << static_cast<int>(order.order) << " seed " << order.seed);
      }
    }
  }
}

namespace {

// Whether leaving the barrier out changes a result, or fails, in any case and order.
bool shows_when_dropped(const simt::host::Site& site, const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const Values right = run_with({}, c);
    for (simt::host::Config order : orders()) {
      order.skip_file = site.file;
      order.skip_line = site.line;
      try {
        if (!same_bits(run_with(order, c), right)) return true;
      } catch (const simt::Error&) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_barrier_of_every_kernel_is_needed) {
  std::map<std::string, std::vector<Case>> by_kernel;
  for (Case& c : ordered_cases()) by_kernel[c.kernel].push_back(c);
  const std::map<std::string, std::size_t> sites_of = {{"gemm", 2},
                                                       {"gemm_tiled", 2},
                                                       {"gemm_mma", 1},
                                                       {"gemm_tiled_tf32", 2},
                                                       {"gemm_mma_tf32", 1},
                                                       {"gemm_tf32", 3},  // of both
                                                       {"gemm_nn_tiled", 2},
                                                       {"gemm_nn_mma", 1},
                                                       {"gemm_nn_tiled_tf32", 2},
                                                       {"gemm_nn_mma_tf32", 1},
                                                       {"gemm_nn_tf32", 3},
                                                       {"gemm_tn_tiled", 2},
                                                       {"gemm_tn_mma", 1},
                                                       {"gemm_tn_tiled_tf32", 2},
                                                       {"gemm_tn_mma_tf32", 1},
                                                       {"gemm_tn_tf32", 3},
                                                       {"attention_tiled", 4},
                                                       {"replay_attention_tiled", 4},
                                                       {"attention_split", 2},
                                                       {"attention_mma", 3},
                                                       {"replay_attention_mma", 3},
                                                       {"window_sizes", 2},
                                                       {"attention_scores", 2},
                                                       {"attention_probs", 2},
                                                       {"store_probs", 2},
                                                       {"stored_attention_tiled", 2},
                                                       {"stored_attention_mma", 2},
                                                       {"gemm_nn", 2},
                                                       {"gemm_tn", 2},
                                                       {"attention_backward_tiled", 2},
                                                       {"attention_backward_mma", 4},
                                                       {"coefficient_gradient", 2},
                                                       {"score_gate_backward", 2},
                                                       {"gemm_nn_sum", 2},
                                                       {"head_lse", 2},
                                                       {"head_scores", 2},
                                                       {"head_probs", 2},
                                                       {"heads_sum", 3},
                                                       {"dependents_sum", 3},
                                                       {"head_delta", 2},
                                                       {"head_gradient", 3}};
  for (const auto& [kernel, cases] : by_kernel) {
    simt::host::forget_barrier_sites();
    for (const Case& c : cases) run_with({.record_sites = true}, c);
    const std::vector<simt::host::Site> sites = simt::host::barrier_sites_seen();
    BOOST_TEST(sites.size() == (sites_of.contains(kernel) ? sites_of.at(kernel) : 0u), kernel);
    for (const simt::host::Site& site : sites) {
      BOOST_TEST(shows_when_dropped(site, cases), kernel << " " << site.file << ":" << site.line);
    }
  }
}
