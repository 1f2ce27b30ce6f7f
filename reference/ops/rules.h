// Small pieces that several operations' rules are written with.
#pragma once

#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <type_traits>

#include "golden/contract/error.h"
#include "reference/graph/op.h"
#include "reference/products/products.h"

namespace assay::reference {

// The engine every product of the reference runs on; `ordered` unless a program chooses at
// start-up.
Engine products_engine();
void set_products_engine(Engine engine);

// body(row) for row in [0, rows), in parallel; `row_work` is roughly the operations of one row.
// X is the number type that body computes with: rounded numbers draw from a stream of their row.
template <class X = double, class Body>
void for_rows(int64_t rows, int64_t row_work, Body&& body) {
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, row_work));
  const Rounding rule = rounding_state().rule;
  tbb::parallel_for(tbb::blocked_range<int64_t>(0, rows, grain), [&](const auto& range) {
    for (int64_t row = range.begin(); row < range.end(); ++row) {
      if constexpr (std::is_same_v<X, Rounded>) {
        const RoundingScope scope(rule, static_cast<uint64_t>(row) + 1);
        body(row);
      } else {
        body(row);
      }
    }
  });
}

// body(i) for every element of a tensor, in parallel over its rows.
template <class X = double, class Body>
void for_elements(const Shape& shape, int64_t element_work, Body&& body) {
  const int64_t row = shape.empty() ? 1 : std::max<int64_t>(1, shape.back());
  for_rows<X>(golden::element_count(shape) / row, element_work * row, [&](int64_t r) {
    for (int64_t i = r * row; i < (r + 1) * row; ++i) body(i);
  });
}

inline double count_of(const Operand& operand) {
  return static_cast<double>(golden::element_count(operand.shape));
}

// Requires axes and rank; throws InputError "op: operand i: expected axes BHTD, got BTD [2,4,8]".
void expect_axes(const Op& op, std::span<const Operand> in, std::size_t operand,
                 const std::string& axes);
void expect_extent(const Op& op, const std::string& what, int64_t expected, int64_t got);

// Adds up error terms the way the model's norm says.
class ErrorSum {
 public:
  explicit ErrorSum(const ErrorModel& model) : worst_(model.norm == ErrorNorm::worst) {}
  void add(double term) { total_ += worst_ ? std::fabs(term) : term * term; }
  double result() const { return worst_ ? total_ : std::sqrt(total_); }

 private:
  bool worst_;
  double total_ = 0;
};

// The relative error of `steps` successive roundings to the accumulator type: steps * u at worst; a
// rounding is uniform in [-u, u], variance u^2/3, so sqrt(steps / 3) * u as a deviation.
double chain_error(const ErrorModel& model, double steps);

// The error at index i, 0 for an absent (exact) operand.
inline double error_at(const Array& error, int64_t i) {
  return error.absent() ? 0.0 : error.data()[i];
}

// Error of C = A B for one product, given |errors| of A and B (data may be null: exact):
//   worst      |A| eB + eA (|B| + eB) + K u |A||B|
//   deviation  sqrt( A^2 eB^2 + eA^2 B^2 + (K/3) u^2 (A^2 B^2 + C^2) )
// The last term holds because a running sum of K terms is at most of the order of its end value or
// of its terms' root sum square, whichever is larger.
//
// Where the factors are read in fewer bits (model.operands), eA and eB are what they are after
// that. A tensor core may round them off or drop them, and its maker does not say which: an element
// is off by up to a spacing, 2 v |A| with v the unit roundoff of what it is read as, and exact if
// it has no more bits. Dropped bits make every factor smaller, by v of it on average, and so the
// whole of C: 2 v |C| is added to the deviation.
void product_error(const ErrorModel& model, ConstMatrix a, ConstMatrix a_error, ConstMatrix b,
                   ConstMatrix b_error, ConstMatrix c, Matrix c_error);

}  // namespace assay::reference
