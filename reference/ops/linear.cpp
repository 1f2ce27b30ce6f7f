#include "reference/ops/linear.h"

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

class Linear final : public Op {
 public:
  std::string name() const override { return "linear"; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BTD");
    expect_axes(*this, in, 1, "DD");
    expect_extent(*this, "columns of the weight", in[0].shape[2], in[1].shape[1]);
    return {{in[0].shape[0], in[0].shape[1], in[1].shape[0]}, "BTD"};
  }

  void value(std::span<const Array> in, Array& out) const override {
    multiply(rows_of(out), rows_of(in[0]), weight_of(in[1]).transposed(), false, products_engine());
  }

  void gradient(std::span<const Array> in, const Array&, const Array& grad_out,
                std::span<Array> grad_in) const override {
    if (!grad_in[0].absent()) {  // dX += dY W
      multiply(rows_of(grad_in[0]), rows_of(grad_out), weight_of(in[1]), true, products_engine());
    }
    if (!grad_in[1].absent()) {  // dW += dY^T X
      Array& grad = grad_in[1];
      multiply(Matrix::row_major(grad.data(), grad.shape()[0], grad.shape()[1]),
               rows_of(grad_out).transposed(), rows_of(in[0]), true, products_engine());
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
                  weight_of(in[1]).transposed(), {}, rows_of(out), rows_of(out_error));
  }

 private:
  // [B,T,K] as a matrix [B*T,K]
  static ConstMatrix rows_of(const Array& x) {
    return ConstMatrix::row_major(x.data(), x.shape()[0] * x.shape()[1], x.shape()[2]);
  }
  static Matrix rows_of(Array& x) {
    return Matrix::row_major(x.data(), x.shape()[0] * x.shape()[1], x.shape()[2]);
  }
  static ConstMatrix weight_of(const Array& w) {
    return ConstMatrix::row_major(w.data(), w.shape()[0], w.shape()[1]);
  }
};

}  // namespace

Node linear(Node x, Node weight) { return x.graph->add(std::make_shared<Linear>(), {x, weight}); }

}  // namespace assay::reference
