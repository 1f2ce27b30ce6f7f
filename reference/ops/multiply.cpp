#include "reference/ops/multiply.h"

#include <utility>

namespace assay::reference {
namespace {

template <class X>
X multiply_add(X a, X b, X c) {
  return c + a * b;
}
Rounded multiply_add(Rounded a, Rounded b, Rounded c) {  // one rounding, as a kernel's fma has
  return Rounded(std::fma(a.value, b.value, c.value));
}

template <class X>
void multiply_rows(MatrixOf<X> c, ConstMatrixOf<X> a, ConstMatrixOf<X> b, bool accumulate) {
  for_rows<X>(c.rows, 8 * c.cols * a.cols, [&](int64_t m) {
    X* row = c.at(m, 0);
    if (!accumulate) std::fill(row, row + c.cols, X());
    for (int64_t k = 0; k < a.cols; ++k) {
      const X factor = *a.at(m, k);
      for (int64_t n = 0; n < c.cols; ++n) row[n] = multiply_add(factor, *b.at(k, n), row[n]);
    }
  });
}

// The doubles of one member of every element, as a matrix of their own.
ConstMatrix part(ConstMatrixOf<Dual> x, double Dual::*member) {
  static_assert(sizeof(Dual) == 2 * sizeof(double));
  return {x.data == nullptr ? nullptr : &(x.data->*member), x.rows, x.cols, 2 * x.row_stride,
          2 * x.col_stride};
}

std::vector<Rounded> as_operand(ConstMatrixOf<Rounded> x) {
  Rounding nearest = rounding_state().rule;
  nearest.stochastic = false;
  nearest.accumulate = nearest.operands;
  const RoundingScope scope(nearest);
  std::vector<Rounded> read;
  read.reserve(static_cast<std::size_t>(x.rows * x.cols));
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t n = 0; n < x.cols; ++n) read.emplace_back(x.at(r, n)->value);
  }
  return read;
}

ConstMatrix values_of(ConstMatrixOf<Uncertain> x) {
  static_assert(sizeof(Uncertain) == 2 * sizeof(double));
  return {&x.data->value, x.rows, x.cols, 2 * x.row_stride, 2 * x.col_stride};
}

// Absent where all are exact.
Array deviations_of(ConstMatrixOf<Uncertain> x) {
  Array error = Array::uninitialized({x.rows, x.cols});
  std::vector<char> any(static_cast<std::size_t>(x.rows));
  for_rows(x.rows, 4 * x.cols, [&](int64_t r) {
    for (int64_t n = 0; n < x.cols; ++n) {
      const double variance = x.at(r, n)->variance;
      error.data()[r * x.cols + n] = std::sqrt(variance);
      if (variance != 0) any[static_cast<std::size_t>(r)] = 1;
    }
  });
  const bool exact = std::find(any.begin(), any.end(), 1) == any.end();
  return exact ? Array() : error;
}

}  // namespace

void multiply(MatrixOf<Dual> c, ConstMatrixOf<Dual> a, ConstMatrixOf<Dual> b, bool accumulate) {
  Array value = Array::uninitialized({c.rows, c.cols});
  Array tangent = Array::uninitialized({c.rows, c.cols});
  multiply(rows_of(value), part(a, &Dual::value), part(b, &Dual::value), false);
  multiply(rows_of(tangent), part(a, &Dual::tangent), part(b, &Dual::value), false);
  multiply(rows_of(tangent), part(a, &Dual::value), part(b, &Dual::tangent), true);
  for_rows(c.rows, c.cols, [&](int64_t m) {
    for (int64_t n = 0; n < c.cols; ++n) {
      const Dual product(value.data()[m * c.cols + n], tangent.data()[m * c.cols + n]);
      *c.at(m, n) = accumulate ? *c.at(m, n) + product : product;
    }
  });
}

void multiply(MatrixOf<DoubleDouble> c, ConstMatrixOf<DoubleDouble> a,
              ConstMatrixOf<DoubleDouble> b, bool accumulate) {
  multiply_rows(c, a, b, accumulate);
}

void multiply(MatrixOf<Uncertain> c, ConstMatrixOf<Uncertain> a, ConstMatrixOf<Uncertain> b,
              bool accumulate) {
  Array value = Array::uninitialized({c.rows, c.cols});
  Array error = Array::uninitialized({c.rows, c.cols});
  const Array a_error = deviations_of(a), b_error = deviations_of(b);
  const auto rows = [](const Array& x) { return x.absent() ? ConstMatrix{} : rows_of(x); };
  multiply(rows_of(value), values_of(a), values_of(b), false);
  product_error(*uncertain_rule().model, values_of(a), rows(a_error), values_of(b), rows(b_error),
                rows_of(std::as_const(value)), rows_of(error));
  for_rows(c.rows, 4 * c.cols, [&](int64_t m) {
    for (int64_t n = 0; n < c.cols; ++n) {
      const double e = error.data()[m * c.cols + n];
      const Uncertain product(value.data()[m * c.cols + n], e * e);
      if (!accumulate) *c.at(m, n) = Uncertain();
      *c.at(m, n) += product;
    }
  });
}

void multiply(MatrixOf<Rounded> c, ConstMatrixOf<Rounded> a, ConstMatrixOf<Rounded> b,
              bool accumulate) {
  if (rounding_state().rule.operands == golden::Precision::fp64) {  // read as they are
    multiply_rows(c, a, b, accumulate);
    return;
  }
  const std::vector<Rounded> left = as_operand(a), right = as_operand(b);
  multiply_rows(c, ConstMatrixOf<Rounded>::row_major(left.data(), a.rows, a.cols),
                ConstMatrixOf<Rounded>::row_major(right.data(), b.rows, b.cols), accumulate);
}

}  // namespace assay::reference
