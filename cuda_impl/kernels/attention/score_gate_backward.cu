// Backward of score_gate.cu, but for the sums over rows. From d factors, with z, pre, inner =
// GELU(pre) and g as there:
//   dg[n,o]   = d factors[n,o] * factors[n,o]
//   dpre[n,i] = GELU'(pre[n,i]) * sum_o w2[o,i] dg[n,o]
//   dz[n,d]   = sum_i w1[i,d] dpre[n,i]
// The caller sums over the rows: dbias = sum_n dg, dw2 = dg^T inner, dw1 = dpre^T z, and takes dz
// through the norm.
//
//   h [N,D], norm [D], w1 [m,D], w2 [outputs,m]  stored as S
//   factors, d factors, dg [N,outputs], inner, dpre [N,m], z, dz [N,D]  accum_t<S>
// Launch: one warp per row. Any N, D >= 1, m and outputs up to kMaxGate.
// Longest addition chain ceil(D/32) + 5 for pre, outputs for dinner, m for dz.
// CPU counterpart: reference/methods/score_factors.cpp, by the gradient rules of its operations
#include "cuda_impl/kernels/backward.h"
#include "cuda_impl/kernels/pointwise/gelu.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

template <class S>
struct GateParams {
  using A = accum_t<S>;
  A *dg, *inner, *dpre, *z, *dz;
  const A *factors, *dfactors;
  const S *h, *norm, *w1, *w2;
  int D, m, outputs;
  A eps;
};

template <class S>
__global__ void score_gate_backward_kernel(GateParams<S> p) {
  using A = accum_t<S>;
  SIMT_SHARED(A, s_dg, kMaxGate);
  SIMT_SHARED(A, s_dpre, kMaxGate);
  const int64_t n = blockIdx.x;
  const int lane = static_cast<int>(threadIdx.x);
  const S* row = p.h + n * p.D;  // [D]

  A sum_sq = A(0);
  for (int d = lane; d < p.D; d += 32) sum_sq += simt::to_accum(row[d]) * simt::to_accum(row[d]);
  const A inv_rms = A(1) / simt::sqrt(simt::warp_sum(sum_sq) / A(p.D) + p.eps);
  for (int d = lane; d < p.D; d += 32) {
    p.z[n * p.D + d] = simt::to_accum(row[d]) * inv_rms * simt::to_accum(p.norm[d]);
  }
  A r_pre[2] = {A(0), A(0)};  // of features lane and 32 + lane
  for (int i = 0; i < p.m; ++i) {
    A sum = A(0);
    for (int d = lane; d < p.D; d += 32) {
      sum += simt::to_accum(p.w1[int64_t{i} * p.D + d]) * p.z[n * p.D + d];
    }
    sum = simt::warp_sum(sum);
    if (i % 32 == lane) r_pre[i / 32] = sum;
  }
  for (int o = lane; o < p.outputs; o += 32) {
    const int64_t at = n * p.outputs + o;
    s_dg[o] = p.dg[at] = p.dfactors[at] * p.factors[at];
  }
  __syncwarp();  // s_dg is complete
  for (int i = lane; i < p.m; i += 32) {
    const A pre = r_pre[i / 32];
    A dinner = A(0);
    for (int o = 0; o < p.outputs; ++o) dinner += simt::to_accum(p.w2[o * p.m + i]) * s_dg[o];
    p.inner[n * p.m + i] = gelu_of<A, false>(pre);
    s_dpre[i] = p.dpre[n * p.m + i] = dinner * gelu_slope<A, false>(pre);
  }
  __syncwarp();  // s_dpre is complete
  for (int d = lane; d < p.D; d += 32) {
    A sum = A(0);
    for (int i = 0; i < p.m; ++i) {
      sum += simt::to_accum(p.w1[int64_t{i} * p.D + d]) * s_dpre[i];
    }
    p.dz[n * p.D + d] = sum;
  }
}

}  // namespace

template <class S>
void score_gate_backward(const GateGradientRows<accum_t<S>>& out, In<accum_t<S>, 2> dfactors,
                         In<accum_t<S>, 2> factors, In<S, 2> h, const GateWeights<S>& gate,
                         double eps, Stream stream) {
  const char* kernel = "score_gate_backward";
  const auto [N, D] = h.shape;
  const auto [outputs, m] = gate.w2.shape;
  expect_at_most(kernel, "m", m, kMaxGate);
  expect_at_most(kernel, "outputs", outputs, kMaxGate);
  expect_shape(kernel, "dg [N,outputs]", out.dg, {N, outputs});
  expect_shape(kernel, "inner [N,m]", out.inner, {N, m});
  expect_shape(kernel, "dpre [N,m]", out.dpre, {N, m});
  expect_shape(kernel, "z [N,D]", out.z, {N, D});
  expect_shape(kernel, "dz [N,D]", out.dz, {N, D});
  expect_shape(kernel, "dfactors [N,outputs]", dfactors, {N, outputs});
  expect_shape(kernel, "factors [N,outputs]", factors, {N, outputs});
  expect_shape(kernel, "h [N,D]", h, {N, D});
  expect_shape(kernel, "norm [D]", gate.norm, {D});
  expect_shape(kernel, "w1 [m,D]", gate.w1, {m, D});
  expect_shape(kernel, "w2 [outputs,m]", gate.w2, {outputs, m});
  const GateParams<S> params{.dg = out.dg.data,
                             .inner = out.inner.data,
                             .dpre = out.dpre.data,
                             .z = out.z.data,
                             .dz = out.dz.data,
                             .factors = factors.data,
                             .dfactors = dfactors.data,
                             .h = h.data,
                             .norm = gate.norm.data,
                             .w1 = gate.w1.data,
                             .w2 = gate.w2.data,
                             .D = static_cast<int>(D),
                             .m = static_cast<int>(m),
                             .outputs = static_cast<int>(outputs),
                             .eps = static_cast<accum_t<S>>(eps)};
  simt::launch(LaunchName(kernel, h.shape).text, score_gate_backward_kernel<S>,
               dim3(static_cast<unsigned>(N)), dim3(32), 0, stream, params);
}

#define ASSAY_INSTANTIATE(S)                                                                       \
  template void score_gate_backward<S>(const GateGradientRows<accum_t<S>>&, In<accum_t<S>, 2>,     \
                                       In<accum_t<S>, 2>, In<S, 2>, const GateWeights<S>&, double, \
                                       Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
