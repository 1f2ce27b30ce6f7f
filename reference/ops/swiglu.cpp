#include "reference/ops/swiglu.h"

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
template <class X>
X silu_slope(X x, X s) {  // s = sigmoid(x)
  return s * (X(1.0) + x * (X(1.0) - s));
}

class Swiglu final : public Differentiated<Swiglu> {
 public:
  std::string name() const override { return "swiglu"; }
  bool in_place() const override { return true; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BTD");
    expect_axes(*this, in, 1, "BTD");
    expect_extent(*this, "features of up", in[0].shape[2], in[1].shape[2]);
    return in[0];
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    for_elements<X>(out.shape(), 8, [&](int64_t i) {
      using std::exp;
      const X gate = in[0].data()[i];
      out.data()[i] = gate / (X(1.0) + exp(-gate)) * in[1].data()[i];
    });
  }

  template <class A>
  void backward(std::span<const A> in, const A&, const A& grad_out, std::span<A> grad_in) const {
    using X = typename A::Element;
    for_elements<X>(grad_out.shape(), 8, [&](int64_t i) {
      const X gate = in[0].data()[i], up = in[1].data()[i], dy = grad_out.data()[i];
      const X s = sigmoid(gate);
      if (!grad_in[0].absent()) grad_in[0].data()[i] += dy * up * silu_slope(gate, s);
      if (!grad_in[1].absent()) grad_in[1].data()[i] += dy * gate * s;
    });
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    unite_cellwise(in, out);
  }

  // An error e of the gate moves its silu by e times the steepest slope within e at most; the
  // slope's turns are at +-2.3994, where it is 1.0998 and -0.0998. Own rounding: exp (a few units),
  // sum, division, product; where exp(-gate) overflows the accumulator type, its inverse is lost.
  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    constexpr Turn kTurns[] = {{-2.3994, 0.001, 0.09985}, {2.3994, 0.001, 1.09985}};
    // eager: sigmoid and its product with the gate are rounded to storage, each one call, or every
    // operation of the sigmoid is: exp (which moves it by 1 - sigmoid times as much, and makes it 0
    // where it overflows), sum and quotient. PyTorch does the first, JAX the second.
    const double rounding = chain_error(model, 8);
    const double step = model.eager_roundoff > 0 ? step_error(model, 1) : 0;
    const double steps = model.eager_roundoff > 0 ? step_error(model, 3) : 0;
    const auto slope = [](double gate) { return silu_slope(gate, sigmoid(gate)); };
    for_elements(out.shape(), 32, [&](int64_t i) {
      const double gate = in[0].data()[i], up = in[1].data()[i];
      const double e_gate = error_at(in_error[0], i), e_up = error_at(in_error[1], i);
      const double e_silu =
          e_gate == 0 ? 0 : e_gate * steepest(slope, gate, model.reach * e_gate, kTurns);
      ErrorSum total(model);
      total.add(up * e_silu);
      total.add(gate * sigmoid(gate) * e_up);
      total.add(model.reach * e_silu * e_up);
      total.add(rounding * out.data()[i]);
      total.add(steps * out.data()[i]);
      total.add(step * (1 - sigmoid(gate)) * out.data()[i]);
      if (std::exp(-gate) > model.eager_most) total.add(out.data()[i]);
      total.add((model.least + model.eager_least) * (1 + std::fabs(gate)) * up);
      out_error.data()[i] = total.result();
    });
  }

  double flops(std::span<const Operand>, const Operand& out) const override {
    return 5 * count_of(out);
  }
};

}  // namespace

Node swiglu(Node gate, Node up) { return gate.graph->add(std::make_shared<Swiglu>(), {gate, up}); }

}  // namespace assay::reference
