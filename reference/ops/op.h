// What every operation says about itself: a shape rule and one rule per interpreter. A rule that
// does not exist is a compile error; one that cannot exist throws NotDifferentiable.
#pragma once

#include <span>
#include <stdexcept>
#include <string>

#include "reference/array.h"
#include "reference/graph.h"
#include "reference/interpreters/relation.h"

namespace assay::reference {

struct NotDifferentiable : std::logic_error {
  using std::logic_error::logic_error;
};

// How the error interpreter adds up. worst: |error| can never exceed the result (interval
// arithmetic, linear in the sensitivities). deviation: standard deviation of the error when
// roundings are independent (root of summed squares).
enum class ErrorNorm { worst, deviation };

struct ErrorModel {
  ErrorNorm norm = ErrorNorm::worst;
  double unit_roundoff = 0;  // of the accumulator type
};

class Op {
 public:
  virtual ~Op() = default;
  virtual std::string name() const = 0;

  // Shape and axes of the result; throws InputError naming the op and both shapes for a misfit.
  virtual Operand result(std::span<const Operand> in) const = 0;

  // Fills out (allocated, contents unspecified). Sums run in ascending index order.
  virtual void value(std::span<const Array> in, Array& out) const = 0;

  // Adds J^T grad_out to each grad_in that is not absent.
  virtual void gradient(std::span<const Array> in, const Array& out, const Array& grad_out,
                        std::span<Array> grad_in) const = 0;

  // Which sources each cell of the result can depend on, for any values.
  virtual void dependence(std::span<const Relation> in, Relation& out) const = 0;

  // Fills out_error from the operands' errors (absent = exact) and the op's own rounding in the
  // accumulator type; the final rounding to the storage type is the interpreter's.
  virtual void error(const ErrorModel& model, std::span<const Array> in,
                     std::span<const Array> in_error, const Array& out, Array& out_error) const = 0;
};

}  // namespace assay::reference
