#include "tests/mutants/backward/defective_gradient.h"

#include <utility>

namespace assay::mutants {
namespace {

using reference::DoubleDouble;
using reference::Dual;
using reference::Field;
using reference::Operand;
using reference::Relation;
using reference::Rounded;

class DefectiveGradient : public Op {
 public:
  DefectiveGradient(std::shared_ptr<const Op> op, DefectiveRule rule)
      : op_(std::move(op)), rule_(std::move(rule)) {}

  std::string name() const override { return op_->name(); }
  Operand result(std::span<const Operand> in) const override { return op_->result(in); }
  void value(std::span<const Array> in, Array& out) const override { op_->value(in, out); }
  void tangent(std::span<const Field<Dual>> in, Field<Dual>& out) const override {
    op_->tangent(in, out);
  }
  void extended(std::span<const Field<DoubleDouble>> in, Field<DoubleDouble>& out) const override {
    op_->extended(in, out);
  }
  void rounded(std::span<const Field<Rounded>> in, Field<Rounded>& out) const override {
    op_->rounded(in, out);
  }
  bool gradient_reads_result() const override { return true; }
  void gradient(std::span<const Array> in, const Array& out, const Array& grad_out,
                std::span<Array> grad_in) const override {
    rule_({*op_, in, out, grad_out, grad_in});
  }
  void dependence(std::span<const Relation> in, Relation& out) const override {
    op_->dependence(in, out);
  }
  void error(const reference::ErrorModel& model, std::span<const Array> in,
             std::span<const Array> in_error, const Array& out, Array& out_error) const override {
    op_->error(model, in, in_error, out, out_error);
  }
  double flops(std::span<const Operand> in, const Operand& out) const override {
    return op_->flops(in, out);
  }

 private:
  std::shared_ptr<const Op> op_;
  DefectiveRule rule_;
};

}  // namespace

std::shared_ptr<const Op> with_gradient(std::shared_ptr<const Op> op, DefectiveRule rule) {
  return std::make_shared<DefectiveGradient>(std::move(op), std::move(rule));
}

std::vector<Array> BackwardCall::parts() const {
  std::vector<Array> added;
  for (const Array& grad : grad_in) {
    added.push_back(grad.absent() ? Array() : Array::zeros(grad.shape()));
  }
  op.gradient(in, out, grad_out, added);
  return added;
}

void add_to(Array& sum, const Array& x, double factor) {
  if (sum.absent() || x.absent()) return;
  for (int64_t i = 0; i < sum.size(); ++i) sum.data()[i] += factor * x.data()[i];
}

}  // namespace assay::mutants
