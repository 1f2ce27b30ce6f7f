// Products for every number type an operation is evaluated with: C = A B, or C += A B.
//
// Each element is one chain, k ascending: c = fma(a[m,k], b[k,n], c) in that type's arithmetic.
#pragma once

#include <algorithm>
#include <vector>

#include "reference/ops/rules.h"

namespace assay::reference {

inline void multiply(Matrix c, ConstMatrix a, ConstMatrix b, bool accumulate) {
  multiply(c, a, b, accumulate, products_engine());
}

// C' = A' B + A B', beside C = A B in the engine's own arithmetic.
void multiply(MatrixOf<Dual> c, ConstMatrixOf<Dual> a, ConstMatrixOf<Dual> b, bool accumulate);
void multiply(MatrixOf<DoubleDouble> c, ConstMatrixOf<DoubleDouble> a,
              ConstMatrixOf<DoubleDouble> b, bool accumulate);
// Factors are first rounded to the thread's operand type, to nearest.
void multiply(MatrixOf<Rounded> c, ConstMatrixOf<Rounded> a, ConstMatrixOf<Rounded> b,
              bool accumulate);

// C's errors are those of product_error, by the thread's UncertainRule.
void multiply(MatrixOf<Uncertain> c, ConstMatrixOf<Uncertain> a, ConstMatrixOf<Uncertain> b,
              bool accumulate);

inline void multiply_all(std::span<const Product> products) {
  multiply_batch(products, false, products_engine());
}
template <class X>
void multiply_all(std::span<const ProductOf<X>> products) {
  for (const ProductOf<X>& p : products) multiply(p.c, p.a, p.b, false);
}

// A tensor's last two axes at (flat) plane index `plane`, as a matrix.
template <class A>
auto plane_of(const A& x, int64_t plane) {
  const int64_t rows = x.shape()[x.shape().size() - 2], cols = x.shape().back();
  return ConstMatrixOf<typename A::Element>::row_major(x.data() + plane * rows * cols, rows, cols);
}
template <class A>
auto plane_of(A& x, int64_t plane) {
  const int64_t rows = x.shape()[x.shape().size() - 2], cols = x.shape().back();
  return MatrixOf<typename A::Element>::row_major(x.data() + plane * rows * cols, rows, cols);
}

// A tensor as a matrix whose columns are its last axis: [B,T,K] as [B*T,K].
template <class A>
auto rows_of(const A& x) {
  return ConstMatrixOf<typename A::Element>::row_major(x.data(), x.size() / x.shape().back(),
                                                       x.shape().back());
}
template <class A>
auto rows_of(A& x) {
  return MatrixOf<typename A::Element>::row_major(x.data(), x.size() / x.shape().back(),
                                                  x.shape().back());
}

}  // namespace assay::reference
