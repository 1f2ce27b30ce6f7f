// Score coefficients computed from a position (methods 5.1D, 5.1E, D-base):
//   z[n]         = norm * h[n] / sqrt(mean_d(h[n]^2) + eps)
//   inner[n,i]   = GELU(sum_d w1[i,d] z[n,d])                          exact
//   factors[n,o] = scale * exp(sum_i w2[o,i] inner[n,i] + bias[o])
//
//   h [N,D], norm [D], w1 [m,D], w2 [outputs,m], bias [outputs]   stored as S
//   factors  [N,outputs]  accum_t<S>; nothing is rounded to S in between
// Launch: one warp per row. Any N, D >= 1, m and outputs up to kMaxGate.
// Longest addition chain ceil(D/32) + 5 for the norm and for inner, m + 1 for factors.
// CPU counterpart: reference/methods/score_factors.cpp
#include "cuda_impl/kernels/pointwise/gelu.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

// Lane i holds inner[n,i] and, for m > 32, inner[n,32+i].
template <class S>
__global__ void score_gate_kernel(accum_t<S>* __restrict__ factors, const S* __restrict__ h,
                                  const S* __restrict__ norm, const S* __restrict__ w1,
                                  const S* __restrict__ w2, const S* __restrict__ bias, int D,
                                  int m, int outputs, accum_t<S> eps, accum_t<S> scale) {
  using A = accum_t<S>;
  const int64_t n = blockIdx.x;
  const int lane = static_cast<int>(threadIdx.x);
  const S* row = h + n * D;  // [D]

  A sum_sq = A(0);
  for (int d = lane; d < D; d += 32) sum_sq += simt::to_accum(row[d]) * simt::to_accum(row[d]);
  const A inv_rms = A(1) / simt::sqrt(simt::warp_sum(sum_sq) / A(D) + eps);

  A r_inner[2] = {A(0), A(0)};
  for (int i = 0; i < m; ++i) {
    A sum = A(0);
    for (int d = lane; d < D; d += 32) {
      const A z = simt::to_accum(row[d]) * inv_rms * simt::to_accum(norm[d]);
      sum += simt::to_accum(w1[int64_t{i} * D + d]) * z;
    }
    sum = simt::warp_sum(sum);
    if (i % 32 == lane) r_inner[i / 32] = gelu_of<A, false>(sum);
  }
  for (int o = 0; o < outputs; ++o) {
    A sum = A(0);
    for (int i = lane; i < m; i += 32) sum += simt::to_accum(w2[o * m + i]) * r_inner[i / 32];
    sum = simt::warp_sum(sum) + simt::to_accum(bias[o]);
    if (lane == 0) factors[n * outputs + o] = scale * simt::exp(sum);
  }
}

}  // namespace

template <class S>
void score_gate(View<accum_t<S>, 2> factors, In<S, 2> h, const GateWeights<S>& gate, double eps,
                double scale, Stream stream) {
  const auto [N, D] = h.shape;
  const auto [outputs, m] = gate.w2.shape;
  expect_at_most("score_gate", "m", m, kMaxGate);
  expect_at_most("score_gate", "outputs", outputs, kMaxGate);
  expect_shape("score_gate", "factors [N,outputs]", factors, {N, outputs});
  expect_shape("score_gate", "h [N,D]", h, {N, D});
  expect_shape("score_gate", "norm [D]", gate.norm, {D});
  expect_shape("score_gate", "w1 [m,D]", gate.w1, {m, D});
  expect_shape("score_gate", "w2 [outputs,m]", gate.w2, {outputs, m});
  expect_shape("score_gate", "bias [outputs]", gate.bias, {outputs});
  simt::launch(LaunchName("score_gate", h.shape).text, score_gate_kernel<S>,
               dim3(static_cast<unsigned>(N)), dim3(32), 0, stream, factors.data, h.data,
               gate.norm.data, gate.w1.data, gate.w2.data, gate.bias.data, D, m, outputs, eps,
               scale);
}

#define ASSAY_INSTANTIATE(S)                                                                \
  template void score_gate<S>(View<accum_t<S>, 2>, In<S, 2>, const GateWeights<S>&, double, \
                              double, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
