// Every kernel against plain double loops, in every storage type, and under every thread order.
#include <boost/test/unit_test.hpp>
#include <map>

#include "cases.h"
#include "cuda_impl/kernels/attention_rungs.h"
#include "cuda_impl/kernels/stored_attention.h"

using namespace assay::kernel_test;
using simt::host::Order;

namespace {

// TSan finds a race whichever thread comes first, and takes its time.
constexpr uint64_t kSeeds = kSmall ? 1 : 22;

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

template <class S>
void check_within_bounds() {
  for (const Case& c : all_cases<S>()) {
    BOOST_TEST_CONTEXT(c.kernel << " " << c.shape) {
      const Values got = c.run();
      const std::vector<Expected> expected = c.expect();
      BOOST_REQUIRE_EQUAL(got.size(), expected.size());
      std::size_t outside = 0, first = 0;
      for (std::size_t i = got.size(); i-- > 0;) {
        const auto [value, bound] = expected[i];
        if (got[i] == value || std::fabs(got[i] - value) <= bound) continue;
        ++outside;
        first = i;
      }
      BOOST_TEST(outside == 0u, outside << " of " << got.size() << " outside, first " << first
                                        << ": expected " << expected[first].value << " +- "
                                        << expected[first].bound << ", got " << got[first]);
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(double_is_within_derived_bounds) { check_within_bounds<double>(); }
BOOST_AUTO_TEST_CASE(fp32_is_within_derived_bounds) { check_within_bounds<float>(); }
BOOST_AUTO_TEST_CASE(bf16_is_within_derived_bounds) { check_within_bounds<simt::bf16>(); }
BOOST_AUTO_TEST_CASE(fp16_is_within_derived_bounds) { check_within_bounds<simt::f16>(); }

// In double the kernels and the loops differ by rounding alone, far below any mistake in a formula.
BOOST_AUTO_TEST_CASE(double_agrees_to_1e_12) {
  for (const Case& c : all_cases<double>()) {
    const Values got = c.run();
    const std::vector<Expected> expected = c.expect();
    double largest = 0;
    for (const auto& [value, bound] : expected) {
      if (std::isfinite(value)) largest = std::max(largest, std::fabs(value));
    }
    std::size_t outside = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      const double value = expected[i].value;
      outside += !(got[i] == value || std::fabs(got[i] - value) <= 1e-12 * largest);
    }
    BOOST_TEST(outside == 0u, c.kernel << " " << c.shape);
  }
}

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

#if !defined(__SANITIZE_THREAD__)  // TSan ends the program at the first dropped barrier

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
  const std::map<std::string, std::size_t> sites_of = {{"product", 2},
                                                       {"product_tiled", 2},
                                                       {"product_mma", 1},
                                                       {"product_tiled_tf32", 2},
                                                       {"product_mma_tf32", 1},
                                                       {"product_tf32", 3},  // of both
                                                       {"product_nn_tf32", 2},
                                                       {"product_tn_tf32", 2},
                                                       {"attention_tiled", 4},
                                                       {"replay_attention_tiled", 4},
                                                       {"attention_mma", 3},
                                                       {"replay_attention_mma", 3},
                                                       {"attention_scores", 2},
                                                       {"attention_probs", 2},
                                                       {"store_probs", 2},
                                                       {"stored_attention", 2},
                                                       {"product_nn", 2},
                                                       {"product_tn", 2},
                                                       {"attention_backward_tiled", 2},
                                                       {"attention_backward_mma", 4},
                                                       {"coefficient_gradient", 2},
                                                       {"score_gate_backward", 2},
                                                       {"linear_back", 2},
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

#endif

namespace {

const simt::Buffer<float>& memory() {
  static const simt::Buffer<float> buffer(64);
  return buffer;
}

template <class Launch>
void check_refused(const Launch& launch, const std::string& message) {
  BOOST_CHECK_EXCEPTION(launch(), simt::Error,
                        [&](const simt::Error& error) { return error.what() == message; });
}

}  // namespace

// A launcher names the kernel, the argument, both shapes.
BOOST_AUTO_TEST_CASE(launchers_refuse_shapes_that_do_not_fit) {
  namespace cuda = assay::cuda;
  float* m = memory().get();
  check_refused(
      [&] {
        cuda::product<float>(View<float, 2>{m, {2, 3}}, {m, {2, 4}}, {m, {3, 5}}, {}, nullptr);
      },
      "product: w [M,K]: expected [3,4], got [3,5]");
  const simt::Buffer<simt::bf16> narrow(64);
  const View<simt::bf16, 2> square{narrow.get(), {2, 2}};
  check_refused(
      [&] { cuda::product<simt::bf16>(square, square, square, {}, nullptr, cuda::Operands::tf32); },
      "product: operands: expected as_stored, got tf32, which only float is read as");
  check_refused(
      [&] {
        cuda::rms_norm<float>({m, {2, 3}}, {m, {2, 3}}, {m, {4}}, 1e-5, nullptr);
      },
      "rms_norm: gain [D]: expected [3], got [4]");
  check_refused(
      [&] {
        cuda::add<float>({m, {2, 3}}, {m, {2, 3}}, {nullptr, {2, 3}}, {m, {2, 3}}, nullptr);
      },
      "add: b [N,D]: expected memory, got a null pointer");
  check_refused(
      [&] {
        cuda::add<float>({m, {0, 3}}, {m, {0, 3}}, {m, {0, 3}}, {}, nullptr);
      },
      "add: y [N,D]: expected extents from 1 to 2147483647, got [0,3]");
  check_refused(
      [&] {
        cuda::rope<float>({m, {1, 1, 2, 3}}, {m, {1, 2, 3}}, {m, {2, 1}}, {m, {2, 1}}, nullptr,
                          nullptr);
      },
      "rope: Dh: expected an even head size, got 3");

  const uint8_t real[2] = {1, 1};
  const float* tables[1] = {m};
  cuda::ScoreOperands<float> scores{.q = tables,
                                    .k = tables,
                                    .real = {real, {1, 2}},
                                    .coefficients = {.data = m},
                                    .offset = nullptr,
                                    .layers = 1,
                                    .H = 3,
                                    .Hkv = 2,
                                    .Dh = 4};
  const auto attend = [&] {
    cuda::attention<float>({m, {1, 2, scores.H * scores.Dh}}, {m, {1, scores.H, 2}}, scores,
                           {m, {1, scores.Hkv, 2, scores.Dh}}, nullptr);
  };
  check_refused(attend, "attention_tiled: Hkv: expected a divisor of H = 3, got 2");
  scores.Hkv = 1;
  scores.Dh = 129;
  check_refused(attend, "attention_tiled: Dh: expected 1 to 128, got 129");
  scores.Dh = 4;
  scores.sinks = 2;
  check_refused(attend,
                "attention_tiled: window, sinks: expected numbers >= 0, and sinks with a window "
                "only, got 0 and 2");
  scores.sinks = 0;
  check_refused(
      [&] {
        cuda::stored_attention<float>({m, {1, 2, 12}}, {m, {1, 3, 2, 3}}, scores, {m, {1, 1, 2, 4}},
                                      nullptr);
      },
      "stored_attention: probs [B,H,T,T]: expected [1,3,2,2], got [1,3,2,3]");
  scores.real.shape = {1, 3};
  check_refused(
      attend,
      "attention_tiled: T: expected as many queries as keys (3) where first is null, got 2");
  const int32_t first[1] = {1};
  scores.first = first;
  scores.real.shape = {1, 2};
  check_refused(
      [&] {
        cuda::attention_scores<float>({m, {1, 3, 2, 2}}, scores, nullptr);
      },
      "attention_scores: first: expected null, the whole sequence at once");
}

BOOST_AUTO_TEST_CASE(tensor_core_attention_refuses_what_it_has_no_tile_for) {
  namespace cuda = assay::cuda;
  using simt::bf16;
  const simt::Buffer<bf16> halves(64);
  bf16* m = halves.get();
  const uint8_t real[2] = {1, 1};
  const bf16* tables[1] = {m};
  cuda::ScoreOperands<bf16> scores{.q = tables,
                                   .k = tables,
                                   .real = {real, {1, 2}},
                                   .coefficients = {.data = memory().get()},
                                   .offset = nullptr,
                                   .layers = 1,
                                   .H = 1,
                                   .Hkv = 1,
                                   .Dh = 24};
  const auto attend = [&] {
    cuda::attention_mma<bf16>({m, {1, 2, scores.Dh}}, {memory().get(), {1, 1, 2}}, scores,
                              {m, {1, 1, 2, scores.Dh}}, nullptr);
  };
  check_refused(attend, "attention_mma: Dh: expected 16, 32, 64 or 128, got 24");
  scores.Dh = 16;
  scores.coefficients.key = 1;
  check_refused(attend,
                "attention_mma: coefficients: expected strides query = key = 0, got 0 and 1");
}

BOOST_AUTO_TEST_CASE(backward_launchers_refuse_what_does_not_fit) {
  namespace cuda = assay::cuda;
  float* m = memory().get();
  check_refused(
      [&] {
        cuda::product_tn<float>({m, {2, 3}}, {m, {4, 2}}, {m, {5, 3}}, false, nullptr);
      },
      "product_tn: x [N,K]: expected [4,3], got [5,3]");
  const auto differentiate_product = [&](const cuda::BackwardLayout& layout) {
    cuda::product_nn<float>(View<float, 2>{m, {2, 3}}, {m, {2, 4}}, {m, {4, 3}}, false, nullptr,
                            cuda::Operands::as_stored, layout);
  };
  check_refused([&] { differentiate_product({.count = 0}); },
                "product_nn: count: expected 1 to 65535, got 0");
  check_refused([&] { differentiate_product({.factor_row = 2}); },
                "product_nn: factor_row: expected 0 or K = 3 at least, got 2");
  check_refused(
      [&] {
        cuda::column_sum<float>({m, {3}}, {m, {1, 3}}, {m, {33, 3}}, false, nullptr);
      },
      "column_sum: parts [C,D]: expected [2,3], got [1,3]");
  check_refused(
      [&] {
        cuda::layer_norm_backward<float>(View<float, 2>{m, {2, 3}}, {m, {3}}, {m, {3}},
                                         {{m, {1, 2}}, {m, {2, 3}}}, {m, {2, 3}}, {m, {2, 3}}, {},
                                         {m, {3}}, 1e-5, false, nullptr);
      },
      "layer_norm_backward: statistics [2,layers*N]: expected [2,2], got [1,2]");

  const cuda::AdamwState<float> state{{m, {4}}, {m, {4}}, {m, {4}}};
  check_refused(
      [&] {
        cuda::adamw<float>({}, state, {m, {4}}, {}, {.step = 0}, nullptr);
      },
      "adamw: step: expected 1 or more, got 0");
  check_refused(
      [&] {
        cuda::adamw<float>({}, state, {m, {4}}, {m, {1}}, {}, nullptr);
      },
      "adamw: max_norm: expected a positive number with a norm, got 0.000000");

  const uint8_t real[2] = {1, 1};
  const float* tables[1] = {m};
  cuda::AttentionUse<float> use;
  use.scores.q = use.scores.k = tables;
  use.scores.real = {real, {1, 2}};
  use.scores.H = use.scores.Hkv = 1;
  use.scores.Dh = 4;
  use.scores.coefficients.data = m;
  use.lse = use.delta = {m, {1, 1, 2}};
  use.v = {m, {1, 1, 2, 4}};
  use.dcontext = {m, {1, 2, 4}};
  cuda::ScoreGradients<float> gradients;
  gradients.dcoefficients = {m, {1}};
  const auto differentiate = [&] {
    cuda::attention_backward<float>({m, {1, 1, 2, 4}}, gradients, use, nullptr);
  };
  check_refused(
      differentiate,
      "attention_backward_tiled: coefficient_parts [layers,B,H,parts]: expected [1,1,1,4], got "
      "[0,0,0,0]");
  use.dcontext = {m, {1, 2, 5}};
  check_refused(differentiate,
                "attention_backward_tiled: dcontext [B,T,H*Dh]: expected [1,2,4], got [1,2,5]");
}

// A failed launch is named by its kernel and shape.
BOOST_AUTO_TEST_CASE(launch_name_carries_the_shape) {
  const std::array<int64_t, 3> shape{2, 70, 128};
  const std::string text = assay::cuda::LaunchName("attention", shape).text;
  BOOST_TEST(text == "attention [2,70,128]");
}
