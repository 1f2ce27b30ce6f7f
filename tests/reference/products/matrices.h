// Random matrices with any strides, and the product by its definition.
#pragma once

#include <cmath>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "reference/products/products.h"

namespace assay::reference::products_test {

// How the elements of a matrix lie in memory.
enum class Layout { rows, padded_rows, columns, padded_columns, spread };
inline constexpr Layout kLayouts[] = {Layout::rows, Layout::padded_rows, Layout::columns,
                                      Layout::padded_columns, Layout::spread};

// Owns a matrix; gaps between its elements hold NaN, so reading one shows.
struct Stored {
  std::vector<double> memory;
  ConstMatrix view;

  double& at(int64_t r, int64_t c) {
    return memory[size_t(r * view.row_stride + c * view.col_stride)];
  }
};

inline std::pair<int64_t, int64_t> strides(Layout layout, int64_t rows, int64_t cols) {
  switch (layout) {
    case Layout::rows:
      return {cols, 1};
    case Layout::padded_rows:
      return {cols + 5, 1};
    case Layout::columns:
      return {1, rows};
    case Layout::padded_columns:
      return {1, rows + 3};
    case Layout::spread:
      return {3 * cols + 1, 3};
  }
  return {};
}

// Elements of both signs over 12 binary orders of magnitude: another order of summation rounds
// differently in nearly every element.
inline Stored random_matrix(int64_t rows, int64_t cols, Layout layout, std::mt19937_64& random) {
  const auto [row_stride, col_stride] = strides(layout, rows, cols);
  Stored m;
  m.memory.assign(size_t(rows * row_stride + cols * col_stride + 1), std::nan(""));
  m.view = {m.memory.data(), rows, cols, row_stride, col_stride};
  std::uniform_real_distribution<double> mantissa(-1.0, 1.0);
  std::uniform_int_distribution<int> exponent(-6, 6);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) m.at(r, c) = std::ldexp(mantissa(random), exponent(random));
  }
  return m;
}

// The definition: one chain of fused multiply-adds, k ascending. c holds the old values [M,N].
inline std::vector<double> chain(ConstMatrix a, ConstMatrix b, std::vector<double> c) {
  for (int64_t m = 0; m < a.rows; ++m) {
    for (int64_t n = 0; n < b.cols; ++n) {
      double& sum = c[size_t(m * b.cols + n)];
      for (int64_t k = 0; k < a.cols; ++k) sum = std::fma(*a.at(m, k), *b.at(k, n), sum);
    }
  }
  return c;
}

inline std::vector<double> product(ConstMatrix a, ConstMatrix b, Engine engine) {
  std::vector<double> c(size_t(a.rows * b.cols), std::nan(""));
  multiply(Matrix::row_major(c.data(), a.rows, b.cols), a, b, false, engine);
  return c;
}

inline bool same_bits(const double* x, const double* y, size_t n) {
  return n == 0 || std::memcmp(x, y, n * sizeof(double)) == 0;
}
inline bool same_bits(const std::vector<double>& x, const std::vector<double>& y) {
  return x.size() == y.size() && same_bits(x.data(), y.data(), x.size());
}

}  // namespace assay::reference::products_test
