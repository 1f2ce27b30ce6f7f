#include "reference/ops/linear.h"

#include "reference/ops/multiply.h"

namespace assay::reference {
namespace {

class Linear final : public Computed<Linear> {
 public:
  explicit Linear(bool back) : back_(back) {}
  std::string name() const override { return back_ ? "linear_back" : "linear"; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BTD");
    expect_axes(*this, in, 1, "DD");
    const std::size_t from = back_ ? 0 : 1;  // the weight's axis that is summed over
    expect_extent(*this, back_ ? "rows of the weight" : "columns of the weight", in[0].shape[2],
                  in[1].shape[from]);
    return {{in[0].shape[0], in[0].shape[1], in[1].shape[1 - from]}, "BTD"};
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    multiply(rows_of(out), rows_of(in[0]), factor(in[1]), false);
  }

  void gradient(std::span<const Array> in, const Array&, const Array& grad_out,
                std::span<Array> grad_in) const override {
    if (!grad_in[0].absent()) {  // dX += dY W, back: dY W^T
      multiply(rows_of(grad_in[0]), rows_of(grad_out), factor(in[1]).transposed(), true);
    }
    if (!grad_in[1].absent()) {  // dW += dY^T X, back: X^T dY
      const Array &left = back_ ? in[0] : grad_out, &right = back_ ? grad_out : in[0];
      multiply(rows_of(grad_in[1]), rows_of(left).transposed(), rows_of(right), true);
    }
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    unite_cellwise(in, out);
  }

  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    ASSAY_CHECK(in_error[1].absent(), "weights are exact");
    product_error(model, rows_of(in[0]),
                  in_error[0].absent() ? ConstMatrix{} : rows_of(in_error[0]), factor(in[1]), {},
                  rows_of(out), rows_of(out_error));
  }

  double flops(std::span<const Operand> in, const Operand& out) const override {
    return 2 * count_of(out) * static_cast<double>(in[0].shape[2]);
  }

 private:
  // What X is multiplied with: W^T, back: W.
  template <class A>
  ConstMatrixOf<typename A::Element> factor(const A& weight) const {
    return back_ ? rows_of(weight) : rows_of(weight).transposed();
  }

  bool back_;
};

}  // namespace

Node linear(Node x, Node weight) {
  return x.graph->add(std::make_shared<Linear>(false), {x, weight});
}

Node linear_back(Node x, Node weight) {
  return x.graph->add(std::make_shared<Linear>(true), {x, weight});
}

}  // namespace assay::reference
