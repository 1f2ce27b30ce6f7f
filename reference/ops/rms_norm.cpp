#include "reference/ops/rms_norm.h"

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

class RmsNorm final : public Op {
 public:
  explicit RmsNorm(double eps) : eps_(eps) {}
  std::string name() const override { return "rms_norm"; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BTD");
    expect_axes(*this, in, 1, "D");
    expect_extent(*this, "gain", in[0].shape[2], in[1].shape[0]);
    return in[0];
  }

  void value(std::span<const Array> in, Array& out) const override {
    const int64_t width = in[1].size();
    for_rows(out.size() / width, width, [&](int64_t row) {
      const double* x = in[0].data() + row * width;
      const double inverse = 1.0 / root(x, width);
      double* y = out.data() + row * width;
      for (int64_t d = 0; d < width; ++d) y[d] = in[1].data()[d] * (x[d] * inverse);
    });
  }

  // dx_d = ( g_d dy_d - x_d sum_e(g_e dy_e x_e) / (D r^2) ) / r;   dg_d = sum_rows dy_d x_d / r
  void gradient(std::span<const Array> in, const Array&, const Array& grad_out,
                std::span<Array> grad_in) const override {
    const int64_t width = in[1].size(), rows = grad_out.size() / width;
    const double* gain = in[1].data();
    if (!grad_in[0].absent()) {
      for_rows(rows, width, [&](int64_t row) {
        const double* x = in[0].data() + row * width;
        const double* dy = grad_out.data() + row * width;
        const double r = root(x, width);
        double along = 0;
        for (int64_t d = 0; d < width; ++d) along += gain[d] * dy[d] * x[d];
        along /= static_cast<double>(width) * r * r;
        double* dx = grad_in[0].data() + row * width;
        for (int64_t d = 0; d < width; ++d) dx[d] += (gain[d] * dy[d] - x[d] * along) / r;
      });
    }
    if (grad_in[1].absent()) return;
    for (int64_t row = 0; row < rows; ++row) {
      const double* x = in[0].data() + row * width;
      const double r = root(x, width);
      for (int64_t d = 0; d < width; ++d) {
        grad_in[1].data()[d] += grad_out.data()[row * width + d] * x[d] / r;
      }
    }
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    unite_cellwise(in, out);
  }

  // dy_d = g_d/r ( dx_d - x_d sum_e(x_e dx_e) / (D r^2) ); own rounding: a sum of D squares under a
  // root (D/2 steps), division, root, two products.
  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    const int64_t width = in[1].size();
    const double rounding = chain_error(model, static_cast<double>(width) / 2 + 6);
    for_rows(out.size() / width, width, [&](int64_t row) {
      const double* x = in[0].data() + row * width;
      const double r = root(x, width);
      ErrorSum length(model);
      for (int64_t d = 0; d < width; ++d) length.add(x[d] * error_at(in_error[0], row * width + d));
      const double shrink = length.result() / (static_cast<double>(width) * r * r);
      for (int64_t d = 0; d < width; ++d) {
        const int64_t i = row * width + d;
        ErrorSum total(model);
        total.add(in[1].data()[d] / r * error_at(in_error[0], i));
        total.add(in[1].data()[d] / r * x[d] * shrink);
        total.add(rounding * out.data()[i]);
        out_error.data()[i] = total.result();
      }
    });
  }

 private:
  double root(const double* x, int64_t width) const {
    double squares = 0;
    for (int64_t d = 0; d < width; ++d) squares += x[d] * x[d];
    return std::sqrt(squares / static_cast<double>(width) + eps_);
  }

  double eps_;
};

}  // namespace

Node rms_norm(Node x, Node gain, double eps) {
  return x.graph->add(std::make_shared<RmsNorm>(eps), {x, gain});
}

}  // namespace assay::reference
