#include "reference/ops/reciprocal.h"

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

class Reciprocal final : public Differentiated<Reciprocal> {
 public:
  explicit Reciprocal(double numerator) : numerator_(numerator) {}
  std::string name() const override { return "reciprocal"; }
  bool in_place() const override { return true; }
  bool gradient_reads_result() const override { return true; }

  Operand result(std::span<const Operand> in) const override { return in[0]; }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    const X numerator = numerator_;
    for_elements<X>(out.shape(), 4,
                    [&](int64_t i) { out.data()[i] = numerator / in[0].data()[i]; });
  }

  // dx = -y/x dy
  template <class A>
  void backward(std::span<const A> in, const A& out, const A& grad_out,
                std::span<A> grad_in) const {
    using X = typename A::Element;
    if (grad_in[0].absent()) return;
    for_elements<X>(out.shape(), 4, [&](int64_t i) {
      grad_in[0].data()[i] -= out.data()[i] / in[0].data()[i] * grad_out.data()[i];
    });
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    unite_cellwise(in, out);
  }

  // |n/(x+e) - n/x| <= |y| e / (|x| - e); an x that may be 0 has no bound. Own rounding: of the
  // constant and of the division.
  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    const double rounding = step_error(model, 2);
    for_elements(out.shape(), 4, [&](int64_t i) {
      const double x = std::fabs(in[0].data()[i]), e = error_at(in_error[0], i);
      ErrorSum total(model);
      const double far = model.reach * e;
      total.add(e == 0 ? 0.0 : far < x ? out.data()[i] * e / (x - far) : INFINITY);
      total.add(rounding * out.data()[i]);
      out_error.data()[i] = total.result();
    });
  }

  double flops(std::span<const Operand>, const Operand& out) const override {
    return count_of(out);
  }

 private:
  double numerator_;
};

}  // namespace

Node reciprocal(Node x, double numerator) {
  return x.graph->add(std::make_shared<Reciprocal>(numerator), {x});
}

}  // namespace assay::reference
