#include "reference/ops/linear.h"

#include <fmt/format.h>

#include "reference/ops/multiply.h"

namespace assay::reference {
namespace {

class Linear final : public Differentiated<Linear> {
 public:
  Linear(WeightLayout layout, std::optional<Columns> columns)
      : out_in_(layout == WeightLayout::out_in), columns_(columns) {}
  std::string name() const override { return "linear"; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BTD");
    expect_axes(*this, in, 1, "DD");
    const int64_t inputs = in[1].shape[out_in_ ? 1 : 0], outputs = in[1].shape[out_in_ ? 0 : 1];
    expect_extent(*this, out_in_ ? "columns of the weight" : "rows of the weight", in[0].shape[2],
                  inputs);
    const Columns columns = columns_.value_or(Columns{0, outputs});
    if (columns.first < 0 || columns.count < 1 || columns.first + columns.count > outputs) {
      throw InputError(fmt::format("linear: outputs of the weight: expected at least {}, got {}",
                                   columns.first + columns.count, outputs));
    }
    if (in.size() > 2) {
      expect_axes(*this, in, 2, "D");
      expect_extent(*this, "bias", outputs, in[2].shape[0]);
    }
    return {{in[0].shape[0], in[0].shape[1], columns.count}, "BTD"};
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    multiply(rows_of(out), rows_of(in[0]), weight_of(in[1], width(out)), false);
    if (in.size() < 3) return;
    const X* bias = in[2].data() + first();
    for_rows<X>(out.size() / width(out), width(out), [&](int64_t row) {
      X* y = out.data() + row * width(out);
      for (int64_t n = 0; n < width(out); ++n) y[n] += bias[n];
    });
  }

  template <class A>
  void backward(std::span<const A> in, const A& out, const A& grad_out,
                std::span<A> grad_in) const {
    using X = typename A::Element;
    const int64_t outputs = width(out), inputs = width(in[0]);
    const ConstMatrixOf<X> dy = rows_of(grad_out), x = rows_of(in[0]);
    if (!grad_in[0].absent()) {  // dX += dY W^T
      multiply(rows_of(grad_in[0]), dy, weight_of(in[1], outputs).transposed(), true);
    }
    if (!grad_in[1].absent() && out_in_) {  // d(W^T) += dY^T X
      multiply(rows_of(grad_in[1]).block(first(), 0, outputs, inputs), dy.transposed(), x, true);
    } else if (!grad_in[1].absent()) {  // dW += X^T dY
      multiply(rows_of(grad_in[1]).block(0, first(), inputs, outputs), x.transposed(), dy, true);
    }
    if (grad_in.size() < 3 || grad_in[2].absent()) return;
    X* db = grad_in[2].data() + first();  // db += sum of the rows of dY
    for (int64_t row = 0; row < dy.rows; ++row) {
      for (int64_t n = 0; n < outputs; ++n) db[n] += *dy.at(row, n);
    }
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    unite_cellwise(in, out);
  }

  // A bias is one more term, in whatever order it is added: X W + b = [X, 1] [W; b], a product with
  // K + 1 terms.
  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    const ConstMatrix x = rows_of(in[0]), w = weight_of(in[1], width(out));
    const ConstMatrix x_error = in_error[0].absent() ? ConstMatrix{} : rows_of(in_error[0]);
    const ConstMatrix w_error =
        in_error[1].absent() ? ConstMatrix{} : weight_of(in_error[1], width(out));
    if (in.size() < 3) {
      product_error(model, x, x_error, w, w_error, rows_of(out), rows_of(out_error));
      return;
    }
    const Array x1 = with_column(x, 1.0);
    const Array e0 = in_error[0].absent() ? Array() : with_column(x_error, 0.0);
    const double* bias = in[2].data() + first();
    const Array wb = with_row(w, {bias, static_cast<std::size_t>(width(out))});
    Array eb;
    if (!in_error[1].absent() || !in_error[2].absent()) {
      const Array none = Array::zeros({x.cols, width(out)});
      const Array no_bias = Array::zeros({first() + width(out)});
      const Array& of_bias = in_error[2].absent() ? no_bias : in_error[2];
      eb = with_row(in_error[1].absent() ? rows_of(none) : w_error,
                    {of_bias.data() + first(), static_cast<std::size_t>(width(out))});
    }
    product_error(model, rows_of(x1), e0.absent() ? ConstMatrix{} : rows_of(e0), rows_of(wb),
                  eb.absent() ? ConstMatrix{} : rows_of(eb), rows_of(out), rows_of(out_error));
    if (model.eager_roundoff == 0) return;
    for_elements(out.shape(), 4, [&](int64_t i) {  // X W is rounded before b is added
      ErrorSum total(model);
      total.add(out_error.data()[i]);
      total.add(step_error(model, 1) *
                (std::fabs(out.data()[i]) + std::fabs(bias[i % width(out)])));
      total.add(model.eager_least);
      out_error.data()[i] = total.result();
    });
  }

  double flops(std::span<const Operand> in, const Operand& out) const override {
    const int64_t inputs = in[0].shape[2];
    return (2 * static_cast<double>(inputs) + (in.size() > 2 ? 1 : 0)) * count_of(out);
  }

 private:
  int64_t first() const { return columns_ ? columns_->first : 0; }

  template <class A>
  static int64_t width(const A& x) {
    return x.shape().back();
  }

  // The meant columns of W, as [K,N] whichever way it is stored.
  template <class A>
  ConstMatrixOf<typename A::Element> weight_of(const A& stored, int64_t outputs) const {
    const auto matrix = out_in_ ? rows_of(stored).transposed() : rows_of(stored);
    return matrix.block(0, first(), matrix.rows, outputs);
  }

  static Array with_column(ConstMatrix x, double last) {
    Array wider = Array::uninitialized({x.rows, x.cols + 1});
    for_rows(x.rows, x.cols, [&](int64_t row) {
      double* to = std::copy(x.at(row, 0), x.at(row, 0) + x.cols, rows_of(wider).at(row, 0));
      *to = last;
    });
    return wider;
  }

  static Array with_row(ConstMatrix w, std::span<const double> last) {
    Array taller = Array::uninitialized({w.rows + 1, w.cols});
    for (int64_t n = 0; n < w.cols; ++n) {
      for (int64_t k = 0; k < w.rows; ++k) *rows_of(taller).at(k, n) = *w.at(k, n);
      *rows_of(taller).at(w.rows, n) = last[static_cast<std::size_t>(n)];
    }
    return taller;
  }

  bool out_in_;
  std::optional<Columns> columns_;
};

}  // namespace

Node linear(Node x, Node weight) {
  return x.graph->add(std::make_shared<Linear>(WeightLayout::out_in, std::nullopt), {x, weight});
}

Node linear_back(Node x, Node weight) {
  return x.graph->add(std::make_shared<Linear>(WeightLayout::in_out, std::nullopt), {x, weight});
}

Node linear(Node x, Node weight, Node bias, WeightLayout layout, std::optional<Columns> columns) {
  return x.graph->add(std::make_shared<Linear>(layout, columns), {x, weight, bias});
}

}  // namespace assay::reference
