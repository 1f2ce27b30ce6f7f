// Products of double matrices: C = A B or C += A B, with two engines that check each other.
//
//   C [M,N]  unit column stride, must not overlap A or B
//   A [M,K]  any strides: a transposed matrix is a view, nothing is copied by the caller
//   B [K,N]  any strides; x W^T of a weight [N,K]: ConstMatrix::row_major(w, N, K).transposed()
//
// ordered  Every element is one strictly sequential chain of fused multiply-adds, k ascending:
//            c = 0 (or the old c);  c = fma(a[m,k], b[k,n], c) for k = 0 .. K-1
//          Its bits depend on row m of A and column n of B only: not on tiles, M, N, the position
//          in the matrix, threads, vector width or CPU. The payload of a NaN is not specified.
//          Fastest when A's columns are contiguous; else A is copied first. B may lie any way.
// blas     OpenBLAS's dgemm, one BLAS thread, in fixed tiles of kBlasTileRows x kBlasTileColumns.
//          A ragged last row tile is padded to full height, so row m has the same bits for every
//          M > m. They do depend on N, on OpenBLAS's core type, and on m mod kBlasTileRows. A
//          product with few rows pays for a full tile.
//
// Both are parallel inside (oneTBB, over tiles of C) and may be called from several tasks at once.
// K = 0: C becomes 0, or stays as it is when accumulating. Cost: 2 M N K operations.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace assay::reference {

enum class Engine { ordered, blas };

inline constexpr int64_t kBlasTileRows = 256;
inline constexpr int64_t kBlasTileColumns = 512;

// A view of numbers X, for the products of other number types too (ops/multiply.h).
template <class X>
struct ConstMatrixOf {
  const X* data = nullptr;
  int64_t rows = 0, cols = 0;
  int64_t row_stride = 0, col_stride = 1;  // in elements

  static ConstMatrixOf row_major(const X* data, int64_t rows, int64_t cols) {
    return {data, rows, cols, cols, 1};
  }
  const X* at(int64_t r, int64_t c) const { return data + r * row_stride + c * col_stride; }
  ConstMatrixOf transposed() const { return {data, cols, rows, col_stride, row_stride}; }
  ConstMatrixOf block(int64_t r0, int64_t c0, int64_t block_rows, int64_t block_cols) const {
    return {at(r0, c0), block_rows, block_cols, row_stride, col_stride};
  }
};

template <class X>
struct MatrixOf {
  X* data = nullptr;
  int64_t rows = 0, cols = 0;
  int64_t row_stride = 0;  // in elements; the column stride is 1

  static MatrixOf row_major(X* data, int64_t rows, int64_t cols) {
    return {data, rows, cols, cols};
  }
  X* at(int64_t r, int64_t c) const { return data + r * row_stride + c; }
  operator ConstMatrixOf<X>() const { return {data, rows, cols, row_stride, 1}; }
  MatrixOf block(int64_t r0, int64_t c0, int64_t block_rows, int64_t block_cols) const {
    return {at(r0, c0), block_rows, block_cols, row_stride};
  }
};

using ConstMatrix = ConstMatrixOf<double>;
using Matrix = MatrixOf<double>;

// C = A B, or C += A B. Throws std::invalid_argument when the shapes do not fit.
void multiply(Matrix c, ConstMatrix a, ConstMatrix b, bool accumulate, Engine engine);

template <class X>
struct ProductOf {
  MatrixOf<X> c;          // [M,N]
  ConstMatrixOf<X> a, b;  // [M,K] [K,N]
};
using Product = ProductOf<double>;

// Independent products (the heads of an attention), in parallel over products and inside each.
// Same bits as one multiply after the other. No two c may overlap.
void multiply_batch(std::span<const Product> products, bool accumulate, Engine engine);

// The vector instructions `ordered` uses: "avx512", "avx2" or "scalar". The widest the CPU has,
// unless the environment variable ASSAY_SIMD names one; bits are the same with each of them.
const char* simd_name();

// The kernels OpenBLAS runs, as OPENBLAS_CORETYPE spells them: "Haswell", "SkylakeX", ...
std::string blas_core_name();

}  // namespace assay::reference
