// Backward of y [N,M] = x [N,K] w [M,K]^T, in two products:
//   nn  dx[n,k] = sum_m dy[n,m] * w[m,k]
//   tn  dw[m,k] = sum_n dy[n,m] * x[n,k]
//
//   dy  [N,M], w [M,K], x [N,K]  row-major, stored as S and read as F: S itself, or tf32 where S
//       is float
//   dx  [N,K]  stored as Out (S or accum_t<S>); dw [M,K] stored as accum_t<S>
// Layouts: BackwardLayout of backward.h.
// Each sum is one chain in accum_t<S>, ascending; with `accumulate` it is added to what the output
// holds. The only rounding to Out is the final store.
// Launch: one block per 64 x 64 tile of the output and product, 128 threads of 4 x 8 elements each. Any N, M,
// K >= 1. No scratch memory.
// Longest addition chain M for dx, N for dw, and 1 to accumulate.
// CPU counterpart: reference/ops/linear.cpp
#include "cuda_impl/kernels/backward.h"
#include "cuda_impl/kernels/product_rungs.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kTile = 64;           // rows, and columns, of the output per block
constexpr int kDepth = 32;          // of the summed index per step
constexpr int kStride = kTile + 4;  // of the tiles: spreads transposed stores over banks
constexpr int kRows = 4;            // of the output per thread
constexpr int kHalf = 4;            // columns per thread: kHalf in each half of the tile
constexpr int kThreadsX = kTile / (2 * kHalf);
constexpr int kThreads = kThreadsX * kTile / kRows;

// A layout as a kernel parameter: the elements from the arrays of product j to those of j + 1, and
// from row to row of the factor.
struct BackwardStrides {
  int64_t out, dy, factor, factor_row;
};

// s_tile[k][i] = g_matrix[i0 + i, k0 + k] of a matrix [extent,depth]; i past the end as zeros
// (their results are not stored), k past the end is never read.
template <class F, class S>
SIMT_DEVICE void load_across(accum_t<S>* s_tile, const S* __restrict__ g_matrix, int i0, int extent,
                             int k0, int depth) {
  for (int e = static_cast<int>(threadIdx.x); e < kTile * kDepth; e += kThreads) {
    const int i = e / kDepth, k = e % kDepth;
    if (k0 + k >= depth) continue;
    s_tile[k * kStride + i] =
        i0 + i < extent ? read_as<F>(g_matrix[int64_t{i0 + i} * depth + k0 + k]) : accum_t<S>(0);
  }
}

// s_tile[k][i] = g_matrix[k0 + k, i0 + i] of a matrix [depth,extent] whose rows lie `stride` apart
template <class F, class S>
SIMT_DEVICE void load_along(accum_t<S>* s_tile, const S* __restrict__ g_matrix, int64_t stride,
                            int i0, int extent, int k0, int depth) {
  for (int e = static_cast<int>(threadIdx.x); e < kTile * kDepth; e += kThreads) {
    const int k = e / kTile, i = e % kTile;
    if (k0 + k >= depth) continue;
    s_tile[k * kStride + i] =
        i0 + i < extent ? read_as<F>(g_matrix[(k0 + k) * stride + i0 + i]) : accum_t<S>(0);
  }
}

// g_out [rows,columns] = a b with b [depth,columns], and a stored as [depth,rows] if kTransposed,
// else as [rows,depth].
template <class S, class F, class Out, bool kTransposed>
__global__ void __launch_bounds__(kThreads)
    product_backward_kernel(Out* __restrict__ g_out, const S* __restrict__ g_a,
                            const S* __restrict__ g_b, int rows, int columns, int depth,
                            BackwardStrides strides, bool accumulate) {
  using A = accum_t<S>;
  SIMT_SHARED(A, s_a, kDepth * kStride);  // [k][row]
  SIMT_SHARED(A, s_b, kDepth * kStride);  // [k][column]
  const int tid = static_cast<int>(threadIdx.x);
  const int tile_row = tid / kThreadsX * kRows, tile_column = tid % kThreadsX * kHalf;
  const int row0 = static_cast<int>(blockIdx.y) * kTile;
  const int column0 = static_cast<int>(blockIdx.x) * kTile;

  const int64_t j = blockIdx.z;
  g_out += j * strides.out;
  g_a += j * strides.dy;
  g_b += j * strides.factor;

  A r_out[kRows][2 * kHalf] = {};
  for (int k0 = 0; k0 < depth; k0 += kDepth) {
    if constexpr (kTransposed) {
      load_along<F>(s_a, g_a, rows, row0, rows, k0, depth);
    } else {
      load_across<F>(s_a, g_a, row0, rows, k0, depth);
    }
    load_along<F>(s_b, g_b, strides.factor_row, column0, columns, k0, depth);
    __syncthreads();  // both tiles are complete
    const int steps = depth - k0 < kDepth ? depth - k0 : kDepth;
    for (int k = 0; k < steps; ++k) {
      const A* s_rows = s_a + k * kStride + tile_row;
      const A* s_columns = s_b + k * kStride + tile_column;
      A r_b[2 * kHalf];
      SIMT_UNROLL for (int c = 0; c < kHalf; ++c) {
        r_b[c] = s_columns[c];
        r_b[kHalf + c] = s_columns[kTile / 2 + c];
      }
      SIMT_UNROLL for (int r = 0; r < kRows; ++r) {
        SIMT_UNROLL for (int c = 0; c < 2 * kHalf; ++c) r_out[r][c] += s_rows[r] * r_b[c];
      }
    }
    __syncthreads();  // every thread has read the tiles: the next step may overwrite them
  }

  for (int r = 0; r < kRows; ++r) {
    const int row = row0 + tile_row + r;
    if (row >= rows) break;
    for (int c = 0; c < 2 * kHalf; ++c) {
      const int column = column0 + tile_column + c % kHalf + c / kHalf * (kTile / 2);
      if (column >= columns) continue;
      Out& out = g_out[int64_t{row} * columns + column];
      out = static_cast<Out>(accumulate ? static_cast<A>(out) + r_out[r][c] : r_out[r][c]);
    }
  }
}

template <class S, class F, class Out, bool kTransposed>
void launch_kernel(const char* kernel, View<Out, 2> out, const S* a, const S* b, int64_t depth,
                   bool accumulate, const BackwardLayout& layout, Stream stream) {
  const auto [rows, columns] = out.shape;
  const BackwardStrides strides{layout.out, layout.dy, layout.factor,
                                layout.factor_row == 0 ? columns : layout.factor_row};
  simt::launch(LaunchName(kernel, out.shape).text, product_backward_kernel<S, F, Out, kTransposed>,
               dim3(blocks_for(columns, kTile), blocks_for(rows, kTile),
                    static_cast<unsigned>(layout.count)),
               dim3(kThreads), 0, stream, out.data, a, b, rows, columns, depth, strides,
               accumulate);
}

template <class S, class Out, bool kTransposed>
void launch_product(const char* kernel, View<Out, 2> out, const S* a, const S* b, int64_t depth,
                    bool accumulate, Operands operands, const BackwardLayout& layout,
                    Stream stream) {
  expect_operands<S>(kernel, operands);
  if constexpr (std::is_same_v<S, float>) {
    if (operands == Operands::tf32) {
      launch_kernel<S, simt::tf32, Out, kTransposed>(kernel, out, a, b, depth, accumulate, layout,
                                                     stream);
      return;
    }
  }
  launch_kernel<S, S, Out, kTransposed>(kernel, out, a, b, depth, accumulate, layout, stream);
}

// Of an output with `rows` rows of K elements, in blocks of `tile` rows.
void check_layout(const char* kernel, const BackwardLayout& layout, int64_t rows, int64_t K,
                  int tile) {
  expect_at_most(kernel, ("rows / " + std::to_string(tile)).c_str(), (rows + tile - 1) / tile,
                 65535);
  expect_at_most(kernel, "count", layout.count, 65535);
  if (layout.factor_row != 0 && layout.factor_row < K) {
    throw simt::Error(std::string(kernel) + ": factor_row: expected 0 or K = " + std::to_string(K) +
                      " at least, got " + std::to_string(layout.factor_row));
  }
}

}  // namespace

template <class S, class Out>
void product_nn(View<Out, 2> dx, In<S, 2> dy, In<S, 2> w, bool accumulate, Stream stream,
                Operands operands, const BackwardLayout& layout) {
  const auto [N, K] = dx.shape;
  const int64_t M = dy.shape[1];
  expect_shape("product_nn", "dx [N,K]", dx, {N, K});
  expect_shape("product_nn", "dy [N,M]", dy, {N, M});
  expect_shape("product_nn", "w [M,K]", w, {M, K});
  check_layout("product_nn", layout, N, K, kTile);
  launch_product<S, Out, false>("product_nn", dx, dy.data, w.data, M, accumulate, operands, layout,
                                stream);
}

template <class S>
void product_tn(View<accum_t<S>, 2> dw, In<S, 2> dy, In<S, 2> x, bool accumulate, Stream stream,
                Operands operands, const BackwardLayout& layout) {
  const auto [M, K] = dw.shape;
  const int64_t N = dy.shape[0];
  expect_shape("product_tn", "dw [M,K]", dw, {M, K});
  expect_shape("product_tn", "dy [N,M]", dy, {N, M});
  expect_shape("product_tn", "x [N,K]", x, {N, K});
  check_layout("product_tn", layout, M, K, kTile);
  launch_product<S, accum_t<S>, true>("product_tn", dw, dy.data, x.data, N, accumulate, operands,
                                      layout, stream);
}

#define ASSAY_INSTANTIATE_NN(S, Out)                                                    \
  template void product_nn<S>(View<Out, 2>, In<S, 2>, In<S, 2>, bool, Stream, Operands, \
                              const BackwardLayout&);
ASSAY_INSTANTIATE_NN(float, float)
ASSAY_INSTANTIATE_NN(simt::bf16, simt::bf16)
ASSAY_INSTANTIATE_NN(simt::bf16, float)
ASSAY_INSTANTIATE_NN(simt::f16, simt::f16)
ASSAY_INSTANTIATE_NN(simt::f16, float)
ASSAY_INSTANTIATE_NN(double, double)
#undef ASSAY_INSTANTIATE_NN

#define ASSAY_INSTANTIATE_TN(S)                                                                \
  template void product_tn<S>(View<accum_t<S>, 2>, In<S, 2>, In<S, 2>, bool, Stream, Operands, \
                              const BackwardLayout&);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE_TN)
#undef ASSAY_INSTANTIATE_TN

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
