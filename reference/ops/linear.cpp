#include "reference/ops/linear.h"

#include "reference/ops/multiply.h"

namespace assay::reference {
namespace {

class Linear final : public Computed<Linear> {
 public:
  std::string name() const override { return "linear"; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BTD");
    expect_axes(*this, in, 1, "DD");
    expect_extent(*this, "columns of the weight", in[0].shape[2], in[1].shape[1]);
    return {{in[0].shape[0], in[0].shape[1], in[1].shape[0]}, "BTD"};
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    multiply(rows_of(out), rows_of(in[0]), rows_of(in[1]).transposed(), false);
  }

  void gradient(std::span<const Array> in, const Array&, const Array& grad_out,
                std::span<Array> grad_in) const override {
    if (!grad_in[0].absent()) {  // dX += dY W
      multiply(rows_of(grad_in[0]), rows_of(grad_out), rows_of(in[1]), true);
    }
    if (!grad_in[1].absent()) {  // dW += dY^T X
      multiply(rows_of(grad_in[1]), rows_of(grad_out).transposed(), rows_of(in[0]), true);
    }
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    unite_cellwise(in, out);
  }

  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    ASSAY_CHECK(in_error[1].absent(), "weights are exact");
    product_error(model, rows_of(in[0]),
                  in_error[0].absent() ? ConstMatrix{} : rows_of(in_error[0]),
                  rows_of(in[1]).transposed(), {}, rows_of(out), rows_of(out_error));
  }

  double flops(std::span<const Operand> in, const Operand& out) const override {
    return 2 * count_of(out) * static_cast<double>(in[1].shape[1]);
  }
};

}  // namespace

Node linear(Node x, Node weight) { return x.graph->add(std::make_shared<Linear>(), {x, weight}); }

}  // namespace assay::reference
