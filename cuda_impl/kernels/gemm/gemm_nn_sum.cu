// Two gemms by weights that are not transposed, back through their projections:
//   y[n,d] = scale * (sum_p x1[n,p] w1[p,d] + sum_p x2[n,p] w2[p,d])
//
//   x1, x2  [N,P]  accum_t<S>: sums of attention without a name; x2 may be null: no such term
//   w1, w2  [P,D]  stored as S
//   y       [N,D]  stored as S, the only rounding to it
// Each element is one chain, p ascending, x1's terms first.
// Launch: one block per 32 x 32 tile of y, 256 threads of 4 elements each. Any N, P, D >= 1.
// Longest addition chain P, with x2 2*P.
// CPU counterpart: reference/ops/linear.cpp (linear_back), reference/ops/{add,scale}.cpp
#include "cuda_impl/kernels/mean_field.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kTile = 32;  // rows and columns of y, and steps of p
constexpr int kRows = 4;   // of y per thread, in one column
constexpr int kThreads = kTile * kTile / kRows;
constexpr int kStride = kTile + 1;  // spreads the columns of x over banks
// Of blocks per SM, among which its registers are shared out; with more in double ptxas spills.
template <class S>
constexpr int kBlocks = std::is_same_v<S, double> ? 5 : 8;

template <class S>
__global__ void __launch_bounds__(kThreads, kBlocks<S>)
    gemm_nn_sum_kernel(S* __restrict__ g_y, const accum_t<S>* __restrict__ g_x1,
                       const S* __restrict__ g_w1, const accum_t<S>* __restrict__ g_x2,
                       const S* __restrict__ g_w2, int N, int P, int D, accum_t<S> scale) {
  using A = accum_t<S>;
  SIMT_SHARED(A, s_x, kTile * kStride);  // [row][p]
  SIMT_SHARED(A, s_w, kTile * kTile);    // [p][column]
  const int tid = static_cast<int>(threadIdx.x), column = tid % kTile;
  const int own_row = tid / kTile * kRows;
  const int row0 = static_cast<int>(blockIdx.y) * kTile;
  const int column0 = static_cast<int>(blockIdx.x) * kTile;

  A r_y[kRows] = {};
  for (int term = 0; term < (g_x2 == nullptr ? 1 : 2); ++term) {
    const A* g_x = term == 0 ? g_x1 : g_x2;
    const S* g_w = term == 0 ? g_w1 : g_w2;
    for (int p0 = 0; p0 < P; p0 += kTile) {
      const int steps = P - p0 < kTile ? P - p0 : kTile;  // what lies behind is never read
      for (int i = tid; i < kTile * kTile; i += kThreads) {
        const int row = i / kTile, p = i % kTile;
        if (p < steps) {  // rows past the end as zeros: their results are not stored
          s_x[row * kStride + p] = row0 + row < N ? g_x[int64_t{row0 + row} * P + p0 + p] : A(0);
        }
        if (row < steps) {
          s_w[row * kTile + p] =
              column0 + p < D ? simt::to_accum(g_w[int64_t{p0 + row} * D + column0 + p]) : A(0);
        }
      }
      __syncthreads();  // both tiles are complete
      for (int p = 0; p < steps; ++p) {
        const A w = s_w[p * kTile + column];
        SIMT_UNROLL for (int r = 0; r < kRows; ++r) {
          r_y[r] += s_x[(own_row + r) * kStride + p] * w;
        }
      }
      __syncthreads();  // every thread has read the tiles: the next step may overwrite them
    }
  }
  for (int r = 0; r < kRows; ++r) {
    const int row = row0 + own_row + r;
    if (row >= N || column0 + column >= D) continue;
    g_y[int64_t{row} * D + column0 + column] = simt::from_accum<S>(scale * r_y[r]);
  }
}

}  // namespace

template <class S>
void gemm_nn_sum(View<S, 2> y, In<accum_t<S>, 2> x1, In<S, 2> w1, In<accum_t<S>, 2> x2, In<S, 2> w2,
                 double scale, Stream stream) {
  const auto [N, D] = y.shape;
  const int64_t P = x1.shape[1];
  expect_shape("gemm_nn_sum", "y [N,D]", y, {N, D});
  expect_shape("gemm_nn_sum", "x1 [N,P]", x1, {N, P});
  expect_shape("gemm_nn_sum", "w1 [P,D]", w1, {P, D});
  if (x2.data != nullptr) {
    expect_shape("gemm_nn_sum", "x2 [N,P]", x2, {N, P});
    expect_shape("gemm_nn_sum", "w2 [P,D]", w2, {P, D});
  }
  expect_at_most("gemm_nn_sum", "N / 32", (N + kTile - 1) / kTile, 65535);
  simt::launch(LaunchName("gemm_nn_sum", y.shape).text, gemm_nn_sum_kernel<S>,
               dim3(blocks_for(D, kTile), blocks_for(N, kTile)), dim3(kThreads), 0, stream, y.data,
               x1.data, w1.data, x2.data, w2.data, N, P, D, scale);
}

#define ASSAY_INSTANTIATE(S)                                                               \
  template void gemm_nn_sum<S>(View<S, 2>, In<accum_t<S>, 2>, In<S, 2>, In<accum_t<S>, 2>, \
                               In<S, 2>, double, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
