#include "reference/ops/times.h"

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

class Times final : public Differentiated<Times> {
 public:
  std::string name() const override { return "times"; }
  bool in_place() const override { return true; }

  Operand result(std::span<const Operand> in) const override {
    if (in[0].shape != in[1].shape || in[0].axes != in[1].axes) {
      throw InputError("times: expected factors of one shape, got " +
                       golden::shape_text(in[0].shape) + " and " + golden::shape_text(in[1].shape));
    }
    return in[0];
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    for_elements<X>(out.shape(), 1,
                    [&](int64_t i) { out.data()[i] = in[0].data()[i] * in[1].data()[i]; });
  }

  template <class A>
  void backward(std::span<const A> in, const A&, const A& grad_out, std::span<A> grad_in) const {
    using X = typename A::Element;
    for_elements<X>(grad_out.shape(), 2, [&](int64_t i) {
      const X dy = grad_out.data()[i];
      if (!grad_in[0].absent()) grad_in[0].data()[i] += dy * in[1].data()[i];
      if (!grad_in[1].absent()) grad_in[1].data()[i] += dy * in[0].data()[i];
    });
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    unite_cellwise(in, out);
    for (int64_t cell = 0; cell < out.cells(); ++cell) {
      const bool zero =
          in[0].kind(cell) == Relation::Cell::zero || in[1].kind(cell) == Relation::Cell::zero;
      if (zero) out.set_kind(cell, Relation::Cell::zero);
    }
  }

  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    const double rounding = step_error(model, 1);
    for_elements(out.shape(), 4, [&](int64_t i) {
      const double ea = error_at(in_error[0], i), eb = error_at(in_error[1], i);
      ErrorSum total(model);
      total.add(in[0].data()[i] * eb);
      total.add(in[1].data()[i] * ea);
      total.add(model.reach * ea * eb);
      total.add(rounding * out.data()[i]);
      out_error.data()[i] = total.result();
    });
  }

  double flops(std::span<const Operand>, const Operand& out) const override {
    return count_of(out);
  }
};

}  // namespace

Node times(Node a, Node b) { return a.graph->add(std::make_shared<Times>(), {a, b}); }

}  // namespace assay::reference
