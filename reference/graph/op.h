// What every operation says about itself: a shape rule and one rule per interpreter. A rule that
// does not exist is a compile error; one that cannot exist throws NotDifferentiable.
//
// The value rule is written once, over any number type (Computed, below): with doubles it gives the
// value, with duals the tangent, with double-doubles the extended value, with rounded numbers what
// a kernel of that accumulator computes. The gradient rule is written by hand, also over any number
// type (Differentiated), and the tangent checks it.
#pragma once

#include <algorithm>
#include <limits>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>

#include "golden/contract/precision.h"
#include "reference/graph/graph.h"
#include "reference/graph/places.h"
#include "reference/numbers/array.h"
#include "reference/numbers/double_double.h"
#include "reference/numbers/dual.h"
#include "reference/numbers/field.h"
#include "reference/numbers/relation.h"
#include "reference/numbers/rounded.h"
#include "reference/numbers/uncertain.h"

namespace assay::reference {

struct NotDifferentiable : std::logic_error {
  using std::logic_error::logic_error;
};

// How the error interpreter adds up. worst: |error| can never exceed the result (interval
// arithmetic). deviation: standard deviation of the error when roundings are independent (root of
// summed squares), or more where an operation bends within `reach` of them.
enum class ErrorNorm { worst, deviation };

struct ErrorModel {
  ErrorNorm norm = ErrorNorm::worst;
  double unit_roundoff = 0;  // of the accumulator type
  // What the factors of a product are read as; absent: as they are stored.
  std::optional<golden::Precision> operands = std::nullopt;
  // How many deviations the bound spans that is made of them; 1 for worst. Operations that bend
  // enclose an error of that size and hand on its reach-th part, so that reach times the result
  // holds where a slope times a deviation would not.
  double reach = 1;
  // Of the storage type where every elementary operation is rounded to it (eager), else 0.
  double eager_roundoff = 0;
  double eager_least = 0;  // half its smallest number, where it is rounded so: what underflow loses
  double eager_most = std::numeric_limits<double>::infinity();  // its largest one: what overflows
  double angle_roundoff = 0;  // of the type that rotation angles are formed in
  double least = 0;  // what the accumulator type may flush to 0: its smallest normal number
};

// How numbers that carry the variance of their error round under a model. It must outlive the rule.
inline UncertainRule rule_of(const ErrorModel& model) {
  const double step = std::max(model.unit_roundoff, model.eager_roundoff);
  return {.model = &model,
          .sum = model.unit_roundoff * model.unit_roundoff / 3,
          .step = step * step / 3,
          .reach = model.reach};
}

class Op {
 public:
  virtual ~Op() = default;
  virtual std::string name() const = 0;

  // Shape and axes of the result; throws InputError naming the op and both shapes for a misfit.
  virtual Operand result(std::span<const Operand> in) const = 0;

  // Whether value() may be given the storage of in[0] as out: it has read what lies in a place
  // before it writes there.
  virtual bool in_place() const { return false; }

  // Fills out (allocated, contents unspecified). Sums run in ascending index order.
  virtual void value(std::span<const Array> in, Array& out) const = 0;
  virtual void tangent(std::span<const Field<Dual>> in, Field<Dual>& out) const = 0;
  virtual void extended(std::span<const Field<DoubleDouble>> in,
                        Field<DoubleDouble>& out) const = 0;
  virtual void rounded(std::span<const Field<Rounded>> in, Field<Rounded>& out) const = 0;

  // On part of a sequence (reference/streaming/): whether the operation can be evaluated on rows
  // alone, which of its operands it reads at keys, [.., S, ..] in place of the rows [.., T, ..],
  // its result there, and its value, which differs from value() where positions enter. Where a
  // row's result follows from those of earlier rows (carries), value_at() reads these at the keys
  // as one operand more, behind the others; of the rows themselves nothing stands there.
  virtual bool streams() const { return true; }
  virtual bool reads_keys(std::size_t /*operand*/, std::size_t /*operands*/) const { return false; }
  virtual bool carries() const { return false; }
  virtual Operand result_at(const Places&, std::span<const Operand> in) const { return result(in); }
  virtual void value_at(const Places&, std::span<const Array> in, Array& out) const {
    value(in, out);
  }

  // Whose values the gradient rule reads. The others it gets without values: shapes only.
  virtual bool gradient_reads(std::size_t /*operand*/) const { return true; }
  virtual bool gradient_reads_result() const { return false; }

  // Adds J^T grad_out to each grad_in that is not absent.
  virtual void gradient(std::span<const Array> in, const Array& out, const Array& grad_out,
                        std::span<Array> grad_in) const = 0;
  // The same with the errors of operands, result and gradients, and those that a kernel's roundings
  // add (UncertainScope). Throws std::logic_error for an operation that has no such rule.
  virtual void gradient_error(std::span<const Field<Uncertain>> in, const Field<Uncertain>& out,
                              const Field<Uncertain>& grad_out,
                              std::span<Field<Uncertain>> grad_in) const;

  // Which sources each cell of the result can depend on, for any values.
  virtual void dependence(std::span<const Relation> in, Relation& out) const = 0;

  // Fills out_error from the operands' errors (absent = exact) and the op's own rounding in the
  // accumulator type; the final rounding to the storage type is the interpreter's.
  virtual void error(const ErrorModel& model, std::span<const Array> in,
                     std::span<const Array> in_error, const Array& out, Array& out_error) const = 0;

  // Additions, products, divisions and function calls, one each; a multiply-add counts two.
  virtual double flops(std::span<const Operand> in, const Operand& out) const = 0;
};

// Gives an operation the four evaluating rules from one member template
//   template <class A> void compute(std::span<const A> in, A& out) const
// where A is Array or Field<X> and A::Element its number type.
template <class Derived>
class Computed : public Op {
 public:
  void value(std::span<const Array> in, Array& out) const final { self().compute(in, out); }
  void tangent(std::span<const Field<Dual>> in, Field<Dual>& out) const final {
    self().compute(in, out);
  }
  void extended(std::span<const Field<DoubleDouble>> in, Field<DoubleDouble>& out) const final {
    self().compute(in, out);
  }
  void rounded(std::span<const Field<Rounded>> in, Field<Rounded>& out) const final {
    self().compute(in, out);
  }

 private:
  const Derived& self() const { return static_cast<const Derived&>(*this); }
};

// Besides, the two gradient rules from one member template
//   template <class A>
//   void backward(std::span<const A> in, const A& out, const A& grad_out,
//                 std::span<A> grad_in) const
template <class Derived>
class Differentiated : public Computed<Derived> {
 public:
  void gradient(std::span<const Array> in, const Array& out, const Array& grad_out,
                std::span<Array> grad_in) const final {
    derived().backward(in, out, grad_out, grad_in);
  }
  void gradient_error(std::span<const Field<Uncertain>> in, const Field<Uncertain>& out,
                      const Field<Uncertain>& grad_out,
                      std::span<Field<Uncertain>> grad_in) const final {
    derived().backward(in, out, grad_out, grad_in);
  }

 private:
  const Derived& derived() const { return static_cast<const Derived&>(*this); }
};

}  // namespace assay::reference
