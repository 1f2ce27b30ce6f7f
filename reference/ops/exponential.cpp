#include "reference/ops/exponential.h"

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

class Exponential final : public Differentiated<Exponential> {
 public:
  Exponential(double factor, double shift) : factor_(factor), shift_(shift) {}
  std::string name() const override { return "exponential"; }
  bool in_place() const override { return true; }
  bool gradient_reads(std::size_t) const override { return false; }
  bool gradient_reads_result() const override { return true; }

  Operand result(std::span<const Operand> in) const override { return in[0]; }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    const X factor = factor_, shift = shift_;
    for_elements<X>(out.shape(), 8, [&](int64_t i) {
      using std::exp;
      out.data()[i] = exp(factor * in[0].data()[i] + shift);
    });
  }

  template <class A>
  void backward(std::span<const A>, const A& out, const A& grad_out, std::span<A> grad_in) const {
    using X = typename A::Element;
    if (grad_in[0].absent()) return;
    for_elements<X>(out.shape(), 2, [&](int64_t i) {
      grad_in[0].data()[i] += X(factor_) * out.data()[i] * grad_out.data()[i];
    });
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    unite_cellwise(in, out);
  }

  // An exponent z that is off by e changes y = exp(z) by y expm1(e) at most, where y underflows by
  // exp(z + e). The exponent's own rounding: two constants, a product and a sum, also where an
  // implementation takes factor x and shift apart; then exp itself, a few units.
  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    const double rounding = step_error(model, 2), own = step_error(model, 4);
    for_elements(out.shape(), 16, [&](int64_t i) {
      const double z = factor_ * in[0].data()[i];
      ErrorSum exponent(model);
      exponent.add(factor_ * error_at(in_error[0], i));
      exponent.add(rounding * (std::fabs(z) + std::fabs(shift_)));
      exponent.add(own);
      const double far = model.reach * exponent.result();
      out_error.data()[i] =
          exponential_move(out.data()[i], z + shift_, far) / model.reach + model.least;
    });
  }

  double flops(std::span<const Operand>, const Operand& out) const override {
    return 3 * count_of(out);
  }

 private:
  double factor_, shift_;
};

}  // namespace

Node exponential(Node x, double factor, double shift) {
  return x.graph->add(std::make_shared<Exponential>(factor, shift), {x});
}

}  // namespace assay::reference
