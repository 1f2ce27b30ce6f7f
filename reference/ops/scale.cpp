#include "reference/ops/scale.h"

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

class Scale final : public Op {
 public:
  explicit Scale(double factor) : factor_(factor) {}
  std::string name() const override { return "scale"; }

  Operand result(std::span<const Operand> in) const override { return in[0]; }

  void value(std::span<const Array> in, Array& out) const override {
    over_rows(out, [&](int64_t i) { out.data()[i] = factor_ * in[0].data()[i]; });
  }

  void gradient(std::span<const Array>, const Array&, const Array& grad_out,
                std::span<Array> grad_in) const override {
    if (grad_in[0].absent()) return;
    over_rows(grad_out, [&](int64_t i) { grad_in[0].data()[i] += factor_ * grad_out.data()[i]; });
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    unite_cellwise(in, out);
    for (int64_t cell = 0; cell < out.cells(); ++cell) out.set_kind(cell, in[0].kind(cell));
  }

  void error(const ErrorModel& model, std::span<const Array>, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    const double rounding = chain_error(model, 2);  // of the constant and of the product
    over_rows(out, [&](int64_t i) {
      ErrorSum total(model);
      total.add(factor_ * error_at(in_error[0], i));
      total.add(rounding * out.data()[i]);
      out_error.data()[i] = total.result();
    });
  }

 private:
  template <class Body>
  static void over_rows(const Array& like, Body&& body) {
    const int64_t row = like.shape().empty() ? 1 : std::max<int64_t>(1, like.shape().back());
    for_rows(like.size() / row, row, [&](int64_t r) {
      for (int64_t i = r * row; i < (r + 1) * row; ++i) body(i);
    });
  }

  double factor_;
};

}  // namespace

Node scale(Node x, double factor) {
  ASSAY_CHECK(factor > 0, std::to_string(factor));
  return x.graph->add(std::make_shared<Scale>(factor), {x});
}

}  // namespace assay::reference
