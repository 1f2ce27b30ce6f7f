// The `blas` engine: OpenBLAS's dgemm on tiles of C whose shapes do not depend on the thread count.
//
// A row of a dgemm changes bits with the number of rows (odd M, M = 1, small matrices), so every
// call has exactly kBlasTileRows rows: the last tile is computed on zero-padded copies, in the
// same storage order as a full tile. OpenBLAS has one thread: its threads inside oneTBB tasks
// oversubscribe the machine, and its split of k depends on their number.
#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "reference/products/engines.h"
#include "reference/products/openblas.h"
#include "reference/products/scratch.h"

namespace assay::reference {
namespace {

constexpr int64_t kLargestInt = std::numeric_limits<blasint>::max();

struct Operand {
  CBLAS_TRANSPOSE order;
  const double* data;
  int64_t stride;  // "leading dimension"
};

// Whether BLAS can read the matrix where it is, row by row or column by column.
bool has_order(ConstMatrix m, CBLAS_TRANSPOSE order) {
  const ConstMatrix rows = order == CblasNoTrans ? m : m.transposed();
  return rows.col_stride == 1 && rows.row_stride >= std::max<int64_t>(1, rows.cols) &&
         rows.row_stride <= kLargestInt;
}

// Copy of m, padded with zero rows, stored row by row or column by column.
Operand copied(ConstMatrix m, int64_t padded_rows, CBLAS_TRANSPOSE order, double* to) {
  const bool by_row = order == CblasNoTrans;
  const int64_t stride = by_row ? m.cols : padded_rows;
  std::fill_n(to, padded_rows * m.cols, 0.0);
  for (int64_t r = 0; r < m.rows; ++r) {
    for (int64_t c = 0; c < m.cols; ++c) to[by_row ? r * stride + c : c * stride + r] = *m.at(r, c);
  }
  return {order, to, stride};
}

void dgemm(Matrix c, Operand a, Operand b, int64_t depth, bool accumulate) {
  openblas().dgemm(CblasRowMajor, a.order, b.order, blasint(c.rows), blasint(c.cols),
                   blasint(depth), 1.0, a.data, blasint(a.stride), b.data, blasint(b.stride),
                   accumulate ? 1.0 : 0.0, c.data, blasint(c.row_stride));
}

// One tile of C, c.rows <= kBlasTileRows. `order` is A's storage order. A leaf: calls no TBB.
void multiply_tile(Matrix c, ConstMatrix a, CBLAS_TRANSPOSE order, Operand b, bool accumulate) {
  const int64_t depth = a.cols;
  if (c.rows == kBlasTileRows && has_order(a, order)) {
    const int64_t stride = order == CblasNoTrans ? a.row_stride : a.col_stride;
    dgemm(c, {order, a.data, stride}, b, depth, accumulate);
    return;
  }
  double* const a_copy = leaf_scratch().reserve(kBlasTileRows * (depth + c.cols));
  const Matrix c_copy = Matrix::row_major(a_copy + kBlasTileRows * depth, kBlasTileRows, c.cols);
  if (accumulate) copied(c, kBlasTileRows, CblasNoTrans, c_copy.data);
  dgemm(c_copy, copied(a, kBlasTileRows, order, a_copy), b, depth, accumulate);
  for (int64_t r = 0; r < c.rows; ++r) std::copy_n(c_copy.at(r, 0), c.cols, c.at(r, 0));
}

}  // namespace

void multiply_blas(Matrix c, ConstMatrix a, ConstMatrix b, bool accumulate) {
  if (a.cols > kLargestInt || c.row_stride > kLargestInt) {
    throw std::invalid_argument("multiply: blas: K and strides must be below 2^31, got K " +
                                std::to_string(a.cols) + ", row stride of C " +
                                std::to_string(c.row_stride));
  }
  PooledScratch scratch;
  if (!has_order(b, CblasNoTrans) && !has_order(b, CblasTrans)) {
    const Operand rows = copied(b, b.rows, CblasNoTrans, scratch.reserve(b.rows * b.cols));
    b = {rows.data, b.rows, b.cols, rows.stride, 1};
  }
  const CBLAS_TRANSPOSE b_order = has_order(b, CblasNoTrans) ? CblasNoTrans : CblasTrans;
  const int64_t b_stride = b_order == CblasNoTrans ? b.row_stride : b.col_stride;
  // A's order must not depend on M: only the strides may decide it.
  const CBLAS_TRANSPOSE a_order = a.col_stride == 1 ? CblasNoTrans : CblasTrans;

  const int64_t across = (c.cols + kBlasTileColumns - 1) / kBlasTileColumns;
  const int64_t down = (c.rows + kBlasTileRows - 1) / kBlasTileRows;
  oneapi::tbb::parallel_for(int64_t{0}, across * down, [&](int64_t tile) {
    const int64_t m0 = tile / across * kBlasTileRows, n0 = tile % across * kBlasTileColumns;
    const int64_t rows = std::min(kBlasTileRows, c.rows - m0);
    const int64_t cols = std::min(kBlasTileColumns, c.cols - n0);
    multiply_tile(c.block(m0, n0, rows, cols), a.block(m0, 0, rows, a.cols), a_order,
                  {b_order, b.at(0, n0), b_stride}, accumulate);
  });
}

std::string blas_core_name() { return openblas().core_name(); }

}  // namespace assay::reference
