// AttentionBackwardArguments as a kernel parameter, for the kernels of its backward pass.
#pragma once

#include "cuda_impl/kernels/backward.h"
#include "cuda_impl/kernels/tiles/window.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// With extents in int.
template <class S>
struct BackwardParams {
  using A = accum_t<S>;
  const S *const *q, *const *k;
  const S *v, *dcontext;
  const A *offset, *lse, *delta;  // offset may be null
  Coefficients<A> c;
  const uint8_t* padding_mask;
  Window window;
  int layers, B, H, Hkv, T, Dh;

  // `windowed` may be false where the window hides nothing, and as a constant it saves registers.
  SIMT_DEVICE bool visible(int b, int t, int s, bool windowed = true) const {
    const bool near = windowed ? window.of_row(b, 0, T).sees(t, s) : s <= t;
    return t < T && near && padding_mask[int64_t{b} * T + s] != 0;
  }
  SIMT_DEVICE A coefficient(int i, int b, int t, int s) const {
    return c.data[i * c.layer + b * c.batch + t * c.query + s * c.key];
  }
};

// Whether bit r is set: the pair of own row r and this lane's column is visible.
SIMT_DEVICE bool has(unsigned visible, int r) { return (visible >> r & 1u) != 0; }

// Checks every operand and turns them into the kernel parameter.
template <class S>
BackwardParams<S> backward_params(const char* kernel,
                                  const AttentionBackwardArguments<S>& arguments) {
  using A = accum_t<S>;
  const ScoreOperands<S>& scores = arguments.scores;
  const int64_t layers = scores.layers, H = scores.H, Hkv = scores.Hkv, Dh = scores.Dh;
  const auto [B, T] = scores.padding_mask.shape;
  expect_whole(kernel, scores);
  expect_shape(kernel, "padding_mask [B,T]", scores.padding_mask, {B, T});
  expect_at_most(kernel, "Dh", Dh, kMaxHeadSize);
  expect_at_most(kernel, "B", B, 65535);
  expect_at_most(kernel, "H", H, 65535);
  expect_at_most(kernel, "Hkv", Hkv, H);
  if (H % Hkv != 0) {
    throw simt::Error(std::string(kernel) + ": Hkv: expected a divisor of H = " +
                      std::to_string(H) + ", got " + std::to_string(Hkv));
  }
  expect_shape(kernel, "q [layers]", View<const S* const, 1>{scores.q, {layers}}, {layers});
  expect_shape(kernel, "k [layers]", View<const S* const, 1>{scores.k, {layers}}, {layers});
  expect_shape(kernel, "coefficients", View<const A, 1>{scores.coefficients.data, {layers}},
               {layers});
  expect_shape(kernel, "lse [B,H,T]", arguments.lse, {B, H, T});
  expect_shape(kernel, "delta [B,H,T]", arguments.delta, {B, H, T});
  expect_shape(kernel, "v [B,Hkv,T,Dh]", arguments.v, {B, Hkv, T, Dh});
  expect_shape(kernel, "dcontext [B,T,H*Dh]", arguments.dcontext, {B, T, H * Dh});
  return {.q = scores.q,
          .k = scores.k,
          .v = arguments.v.data,
          .dcontext = arguments.dcontext.data,
          .offset = scores.offset,
          .lse = arguments.lse.data,
          .delta = arguments.delta.data,
          .c = scores.coefficients,
          .padding_mask = scores.padding_mask.data,
          .window = window_of(kernel, scores, T),
          .layers = static_cast<int>(layers),
          .B = static_cast<int>(B),
          .H = static_cast<int>(H),
          .Hkv = static_cast<int>(Hkv),
          .T = static_cast<int>(T),
          .Dh = static_cast<int>(Dh)};
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
