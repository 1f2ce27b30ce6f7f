// AdamW, step number `step` (from 1). With g = gradient * gradient_scale * clip:
//   first  = beta1 * first + (1 - beta1) * g
//   second = beta2 * second + (1 - beta2) * g^2
//   master = master - rate * (first / c1 / (sqrt(second / c2) + eps) + decay * master)
// c1 = 1 - beta1^step, c2 = 1 - beta2^step; the decay acts on the weight, not through the moments
// (Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019, algorithm 2).
//
//   master, first, second, gradient  [N]  accum_t<S>, updated in place
//   weights                          [N]  stored as S: master rounded; may be null
//   norm                             [1]  accum_t<S>, of the stored gradients; may be null
// clip = min(1, max_norm / (gradient_scale * norm)), 1 without a norm. A norm that is not finite
// leaves everything as it is: an overflow under loss scaling skips the step.
// Launch: one thread per weight. Any N >= 1. No scratch memory.
// Longest addition chain 1.
// CPU counterpart: none; plain loops in tests/cuda_impl/kernels/optimizer_cases.cpp
#include <cmath>

#include "cuda_impl/kernels/backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kThreads = 256;

// AdamwStep in the kernel's own type.
template <class A>
struct Constants {
  A rate, decay, eps;
  A keep1, take1, keep2, take2;  // beta1, 1 - beta1, beta2, 1 - beta2
  A correction1, correction2;
  A gradient_scale, max_norm;
};

template <class S>
__global__ void adamw_kernel(S* __restrict__ weights, accum_t<S>* __restrict__ master,
                             accum_t<S>* __restrict__ first, accum_t<S>* __restrict__ second,
                             const accum_t<S>* __restrict__ gradient,
                             const accum_t<S>* __restrict__ norm, int64_t N,
                             Constants<accum_t<S>> c) {
  using A = accum_t<S>;
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= N) return;
  A scale = c.gradient_scale;
  if (norm != nullptr) {
    const A scaled_norm = norm[0] * c.gradient_scale;
    if (!(scaled_norm < kInfinity<A>)) return;  // infinite or not a number
    if (scaled_norm > c.max_norm) scale *= c.max_norm / scaled_norm;
  }
  const A g = gradient[i] * scale;
  const A m = c.keep1 * first[i] + c.take1 * g;
  const A v = c.keep2 * second[i] + c.take2 * g * g;
  const A direction = m / c.correction1 / (simt::sqrt(v / c.correction2) + c.eps);
  const A weight = master[i] - c.rate * (direction + c.decay * master[i]);
  first[i] = m;
  second[i] = v;
  master[i] = weight;
  if (weights != nullptr) weights[i] = simt::from_accum<S>(weight);
}

void expect_step(const AdamwStep& step, bool clips) {
  if (step.step < 1) {
    throw simt::Error("adamw: step: expected 1 or more, got " + std::to_string(step.step));
  }
  if (clips && !(step.max_norm > 0)) {
    throw simt::Error("adamw: max_norm: expected a positive number with a norm, got " +
                      std::to_string(step.max_norm));
  }
}

}  // namespace

template <class S>
void adamw(View<S, 1> weights, const AdamwState<accum_t<S>>& state, In<accum_t<S>, 1> gradient,
           In<accum_t<S>, 1> norm, const AdamwStep& step, Stream stream) {
  using A = accum_t<S>;
  const int64_t N = state.master.shape[0];
  expect_shape("adamw", "master [N]", state.master, {N});
  expect_shape("adamw", "first [N]", state.first, {N});
  expect_shape("adamw", "second [N]", state.second, {N});
  expect_shape("adamw", "gradient [N]", gradient, {N});
  if (weights.data != nullptr) expect_shape("adamw", "weights [N]", weights, {N});
  if (norm.data != nullptr) expect_shape("adamw", "norm [1]", norm, {1});
  expect_step(step, norm.data != nullptr);
  const double count = static_cast<double>(step.step);
  const Constants<A> constants{
      .rate = static_cast<A>(step.learning_rate),
      .decay = static_cast<A>(step.weight_decay),
      .eps = static_cast<A>(step.eps),
      .keep1 = static_cast<A>(step.beta1),
      .take1 = static_cast<A>(1 - step.beta1),
      .keep2 = static_cast<A>(step.beta2),
      .take2 = static_cast<A>(1 - step.beta2),
      .correction1 = static_cast<A>(1 - std::pow(step.beta1, count)),
      .correction2 = static_cast<A>(1 - std::pow(step.beta2, count)),
      .gradient_scale = static_cast<A>(step.gradient_scale),
      .max_norm = static_cast<A>(step.max_norm),
  };
  simt::launch(LaunchName("adamw", state.master.shape).text, adamw_kernel<S>,
               dim3(blocks_for(N, kThreads)), dim3(kThreads), 0, stream, weights.data,
               state.master.data, state.first.data, state.second.data, gradient.data, norm.data, N,
               constants);
}

#define ASSAY_INSTANTIATE(S)                                                        \
  template void adamw(View<S, 1>, const AdamwState<accum_t<S>>&, In<accum_t<S>, 1>, \
                      In<accum_t<S>, 1>, const AdamwStep&, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
