// Every kernel against plain double loops, in every storage type.
#include <algorithm>
#include <boost/test/unit_test.hpp>

#include "cases.h"
#include "cuda_impl/kernels/attention/attention_variants.h"
#include "cuda_impl/kernels/attention/stored_attention.h"
#include "cuda_impl/kernels/mean_field.h"

using namespace assay::kernel_test;

namespace {

void check_within_bounds(const Values& got, const std::vector<Expected>& expected) {
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

// In double the kernels and the loops differ by rounding alone, far below any mistake in a formula.
void check_agrees_to_1e_12(const Values& got, const std::vector<Expected>& expected) {
  double largest = 0;
  for (const auto& [value, bound] : expected) {
    if (std::isfinite(value)) largest = std::max(largest, std::fabs(value));
  }
  std::size_t outside = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double value = expected[i].value;
    outside += !(got[i] == value || std::fabs(got[i] - value) <= 1e-12 * largest);
  }
  BOOST_TEST(outside == 0u, outside << " of " << got.size() << " further off than 1e-12");
}

template <class S>
void check_all_cases() {
  for (const Case& c : all_cases<S>()) {
    BOOST_TEST_CONTEXT(c.kernel << " " << c.shape) {
      const Values got = c.run();
      const std::vector<Expected> expected = c.expect();
      BOOST_REQUIRE_EQUAL(got.size(), expected.size());
      check_within_bounds(got, expected);
      if (std::is_same_v<S, double>) check_agrees_to_1e_12(got, expected);
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(double_is_within_derived_bounds_and_1e_12) { check_all_cases<double>(); }
BOOST_AUTO_TEST_CASE(fp32_is_within_derived_bounds) { check_all_cases<float>(); }
BOOST_AUTO_TEST_CASE(bf16_is_within_derived_bounds) { check_all_cases<simt::bf16>(); }
BOOST_AUTO_TEST_CASE(fp16_is_within_derived_bounds) { check_all_cases<simt::f16>(); }

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
        cuda::gemm<float>(View<float, 2>{m, {2, 3}}, {m, {2, 4}}, {m, {3, 5}}, {}, nullptr);
      },
      "gemm: w [M,K]: expected [3,4], got [3,5]");
  const simt::Buffer<simt::bf16> narrow(64);
  const View<simt::bf16, 2> square{narrow.get(), {2, 2}};
  check_refused(
      [&] { cuda::gemm<simt::bf16>(square, square, square, {}, nullptr, cuda::Operands::tf32); },
      "gemm: operands: expected as_stored, got tf32, which only float is read as");
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

  const uint8_t padding_mask[2] = {1, 1};
  const float* tables[1] = {m};
  cuda::ScoreOperands<float> scores{.q = tables,
                                    .k = tables,
                                    .padding_mask = {padding_mask, {1, 2}},
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
      "stored_attention_tiled: probs [B,H,T,T]: expected [1,3,2,2], got [1,3,2,3]");
  scores.padding_mask.shape = {1, 3};
  check_refused(attend,
                "attention_tiled: T: expected as many queries as keys (3) where position_offset is "
                "null, got 2");
  const int32_t position_offset[1] = {1};
  scores.position_offset = position_offset;
  scores.padding_mask.shape = {1, 2};
  check_refused(
      [&] {
        cuda::attention_scores<float>({m, {1, 3, 2, 2}}, scores, nullptr);
      },
      "attention_scores: position_offset: expected null, the whole sequence at once");
}

BOOST_AUTO_TEST_CASE(heads_refuse_positions_that_are_not_there) {
  namespace cuda = assay::cuda;
  float* m = memory().get();
  const uint8_t padding_mask[3] = {1, 1, 1};
  const int32_t offsets[2] = {-9, 9}, position_offset[1] = {1};
  const float* tables[1] = {m};
  cuda::HeadOperands<float> heads{.q = tables,
                                  .k = tables,
                                  .lse = tables,
                                  .even = {},
                                  .padding_mask = {padding_mask, {1, 3}},
                                  .offsets = {offsets, {1, 2}},
                                  .channels = 2,
                                  .rank = 4};
  const auto lse = [&](int64_t T) {
    return [&heads, m, T] { cuda::head_lse<float>({m, {1, 2, T}}, heads, nullptr); };
  };
  check_refused(
      lse(2),
      "head_lse: T: expected as many words as heads (3) where position_offset is null, got 2");
  heads.position_offset = position_offset;
  check_refused(lse(4), "head_lse: T: expected 1 to 3, got 4");
  check_refused(
      [&] {
        cuda::head_probs<float>({m, {1, 2, 3, 3}}, heads, nullptr);
      },
      "head_probs: position_offset: expected null, the whole sequence at once");
  check_refused(
      [&] {
        cuda::dependents_sum<float>({m, {1, 3, 8}}, heads, {m, {1, 2, 3, 4}}, false, nullptr);
      },
      "dependents_sum: position_offset: expected null, the whole sequence at once");
}

BOOST_AUTO_TEST_CASE(tensor_core_attention_refuses_what_it_has_no_tile_for) {
  namespace cuda = assay::cuda;
  using simt::bf16;
  const simt::Buffer<bf16> halves(64);
  bf16* m = halves.get();
  const uint8_t padding_mask[2] = {1, 1};
  const bf16* tables[1] = {m};
  cuda::ScoreOperands<bf16> scores{.q = tables,
                                   .k = tables,
                                   .padding_mask = {padding_mask, {1, 2}},
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
        cuda::gemm_tn<float>({m, {2, 3}}, {m, {4, 2}}, {m, {5, 3}}, false, nullptr);
      },
      "gemm_tn: x [N,K]: expected [4,3], got [5,3]");
  const auto differentiate_gemm = [&](const cuda::BackwardLayout& layout) {
    cuda::gemm_nn<float>(View<float, 2>{m, {2, 3}}, {m, {2, 4}}, {m, {4, 3}}, false, nullptr,
                         cuda::Operands::as_stored, layout);
  };
  check_refused([&] { differentiate_gemm({.count = 0}); },
                "gemm_nn: count: expected 1 to 65535, got 0");
  check_refused([&] { differentiate_gemm({.count = 2}); },
                "gemm_nn: out of several gemms: expected a stride, got 0");
  check_refused([&] { differentiate_gemm({.factor_row = 2}); },
                "gemm_nn: factor_row: expected 0 or K = 3 at least, got 2");
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

  const uint8_t padding_mask[2] = {1, 1};
  const float* tables[1] = {m};
  cuda::AttentionBackwardArguments<float> arguments;
  arguments.scores.q = arguments.scores.k = tables;
  arguments.scores.padding_mask = {padding_mask, {1, 2}};
  arguments.scores.H = arguments.scores.Hkv = 1;
  arguments.scores.Dh = 4;
  arguments.scores.coefficients.data = m;
  arguments.lse = arguments.delta = {m, {1, 1, 2}};
  arguments.v = {m, {1, 1, 2, 4}};
  arguments.dcontext = {m, {1, 2, 4}};
  cuda::ScoreGradients<float> gradients;
  gradients.dcoefficients = {m, {1}};
  const auto differentiate = [&] {
    cuda::attention_backward<float>({m, {1, 1, 2, 4}}, gradients, arguments, nullptr);
  };
  check_refused(
      differentiate,
      "attention_backward_tiled: coefficient_parts [layers,B,H,parts]: expected [1,1,1,4], got "
      "[0,0,0,0]");
  arguments.dcontext = {m, {1, 2, 5}};
  check_refused(differentiate,
                "attention_backward_tiled: dcontext [B,T,H*Dh]: expected [1,2,4], got [1,2,5]");
}

// A failed launch is named by its kernel and shape.
BOOST_AUTO_TEST_CASE(launch_name_carries_the_shape) {
  const std::array<int64_t, 3> shape{2, 70, 128};
  const std::string text = assay::cuda::LaunchName("attention", shape).text;
  BOOST_TEST(text == "attention [2,70,128]");
}
