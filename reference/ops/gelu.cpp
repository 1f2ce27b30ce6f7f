#include "reference/ops/gelu.h"

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

constexpr double kCubic = 0.044715;
const double kSqrtTwoOverPi = std::sqrt(2.0 / M_PI);

class GeluOp final : public Differentiated<GeluOp> {
 public:
  explicit GeluOp(Gelu form) : form_(form) {}
  std::string name() const override { return form_ == Gelu::exact ? "gelu" : "gelu_tanh"; }
  bool in_place() const override { return true; }

  Operand result(std::span<const Operand> in) const override { return in[0]; }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    for_elements<X>(out.shape(), 16, [&](int64_t i) {
      const X x = in[0].data()[i];
      out.data()[i] = X(0.5) * x * (X(1.0) + odd_part(x));
    });
  }

  template <class A>
  void backward(std::span<const A> in, const A&, const A& grad_out, std::span<A> grad_in) const {
    using X = typename A::Element;
    if (grad_in[0].absent()) return;
    for_elements<X>(grad_out.shape(), 16, [&](int64_t i) {
      grad_in[0].data()[i] += grad_out.data()[i] * slope(in[0].data()[i]);
    });
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    unite_cellwise(in, out);
  }

  // An error e of x moves y by e times the steepest slope within e at most; the slope turns at
  // +-sqrt(2), for the tanh form at +-1.4185, where it is 1.129 and -0.129. Own rounding: the odd
  // part, of size <= 1, is off by up to 4 units of its own, and by less than 4 through its argument
  // (7 roundings, and t erf'(t) < 0.49, t (1 - tanh(t)^2) < 0.45); a sum and a product relative to
  // y. An erf in float may be a short formula: with that of PyTorch 2.15 on CPUs the odd
  // part is off by 12.6 units.
  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    constexpr Turn kTurns[] = {{-1.416, 0.01, 0.1291}, {1.416, 0.01, 1.1291}};
    const double formula = form_ == Gelu::exact ? chain_error(model, 14) : 0;
    const double odd = std::max(step_error(model, 8), formula), products = step_error(model, 2);
    for_elements(out.shape(), 48, [&](int64_t i) {
      const double x = in[0].data()[i], e = error_at(in_error[0], i);
      ErrorSum total(model);
      if (e != 0) {
        total.add(e * steepest([&](double at) { return slope(at); }, x, model.reach * e, kTurns));
      }
      total.add(odd * 0.5 * x);
      total.add(products * out.data()[i]);
      total.add(model.eager_least * (2 + std::fabs(x)));
      out_error.data()[i] = total.result();
    });
  }

  double flops(std::span<const Operand>, const Operand& out) const override {
    return (form_ == Gelu::exact ? 5 : 9) * count_of(out);
  }

 private:
  // What 1 is added to: odd in x, in [-1, 1].
  template <class X>
  X odd_part(X x) const {
    using std::erf, std::tanh;
    return form_ == Gelu::exact ? erf(x * X(M_SQRT1_2))
                                : tanh(X(kSqrtTwoOverPi) * (x + X(kCubic) * x * x * x));
  }

  template <class X>
  X slope(X x) const {
    using std::exp;
    const X odd = odd_part(x);
    const X inner_slope = X(kSqrtTwoOverPi) * (X(1.0) + X(3 * kCubic) * x * x);
    const X odd_slope = form_ == Gelu::exact
                            ? X(kSqrtTwoOverPi) * moved_at_most(exp(X(-0.5) * x * x), 1)
                            : (X(1.0) - odd * odd) * inner_slope;
    return X(0.5) * (X(1.0) + odd) + X(0.5) * x * odd_slope;
  }

  Gelu form_;
};

}  // namespace

Node gelu(Node x, Gelu form) { return x.graph->add(std::make_shared<GeluOp>(form), {x}); }

}  // namespace assay::reference
