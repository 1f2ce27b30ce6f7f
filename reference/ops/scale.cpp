#include "reference/ops/scale.h"

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

class Scale final : public Differentiated<Scale> {
 public:
  explicit Scale(double factor) : factor_(factor) {}
  std::string name() const override { return "scale"; }
  bool in_place() const override { return true; }
  bool gradient_reads(std::size_t) const override { return false; }

  Operand result(std::span<const Operand> in) const override { return in[0]; }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    const X factor = factor_;
    for_elements<X>(out.shape(), 1, [&](int64_t i) { out.data()[i] = factor * in[0].data()[i]; });
  }

  template <class A>
  void backward(std::span<const A>, const A&, const A& grad_out, std::span<A> grad_in) const {
    using X = typename A::Element;
    if (grad_in[0].absent()) return;
    for_elements<X>(grad_out.shape(), 1,
                    [&](int64_t i) { grad_in[0].data()[i] += X(factor_) * grad_out.data()[i]; });
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    unite_cellwise(in, out);
    for (int64_t cell = 0; cell < out.cells(); ++cell) out.set_kind(cell, in[0].kind(cell));
  }

  void error(const ErrorModel& model, std::span<const Array>, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    const double rounding = step_error(model, 2);  // of the constant and of the product
    for_elements(out.shape(), 4, [&](int64_t i) {
      ErrorSum total(model);
      total.add(factor_ * error_at(in_error[0], i));
      total.add(rounding * out.data()[i]);
      out_error.data()[i] = total.result();
    });
  }

  double flops(std::span<const Operand>, const Operand& out) const override {
    return count_of(out);
  }

 private:
  double factor_;
};

}  // namespace

Node scale(Node x, double factor) {
  ASSAY_CHECK(factor > 0, std::to_string(factor));
  return x.graph->add(std::make_shared<Scale>(factor), {x});
}

}  // namespace assay::reference
