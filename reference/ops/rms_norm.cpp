#include "reference/ops/rms_norm.h"

#include <vector>

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

class RmsNorm final : public Differentiated<RmsNorm> {
 public:
  explicit RmsNorm(double eps) : eps_(eps) {}
  std::string name() const override { return "rms_norm"; }
  bool in_place() const override { return true; }

  Operand result(std::span<const Operand> in) const override {
    if (in[0].axes != "BHTD" && in[0].axes != "BGTD") expect_axes(*this, in, 0, "BTD");
    expect_axes(*this, in, 1, "D");
    expect_extent(*this, "gain", in[0].shape.back(), in[1].shape[0]);
    return in[0];
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    const int64_t width = in[1].size();
    for_rows<X>(out.size() / width, width, [&](int64_t row) {
      const X* x = in[0].data() + row * width;
      const X inverse = X(1.0) / root(x, width);
      X* y = out.data() + row * width;
      for (int64_t d = 0; d < width; ++d) y[d] = in[1].data()[d] * (x[d] * inverse);
    });
  }

  // dx_d = ( g_d dy_d - x_d sum_e(g_e dy_e x_e) / (D r^2) ) / r;   dg_d = sum_rows dy_d x_d / r
  template <class A>
  void backward(std::span<const A> in, const A&, const A& grad_out, std::span<A> grad_in) const {
    using X = typename A::Element;
    const int64_t width = in[1].size(), rows = grad_out.size() / width;
    const X* gain = in[1].data();
    const double floor = std::sqrt(eps_);  // of a root
    std::vector<X> roots(static_cast<std::size_t>(rows));
    for_rows<X>(rows, width, [&](int64_t row) {
      roots[static_cast<std::size_t>(row)] = root(in[0].data() + row * width, width);
    });
    if (!grad_in[0].absent()) {
      for_rows<X>(rows, width, [&](int64_t row) {
        const X* x = in[0].data() + row * width;
        const X* dy = grad_out.data() + row * width;
        const X r = roots[static_cast<std::size_t>(row)];
        X along = 0;
        for (int64_t d = 0; d < width; ++d) along += gain[d] * dy[d] * x[d];
        along =
            over(along, X(static_cast<double>(width)) * r * r, static_cast<double>(width) * eps_);
        X* dx = grad_in[0].data() + row * width;
        for (int64_t d = 0; d < width; ++d) {
          dx[d] += over(gain[d] * dy[d] - x[d] * along, r, floor);
        }
      });
    }
    if (grad_in[1].absent()) return;
    constexpr int64_t kStrip = 64;  // features of one task, which runs over all rows in order
    for_rows<X>((width + kStrip - 1) / kStrip, rows * kStrip, [&](int64_t strip) {
      const int64_t end = std::min(width, (strip + 1) * kStrip);
      for (int64_t row = 0; row < rows; ++row) {
        const X* x = in[0].data() + row * width;
        const X* dy = grad_out.data() + row * width;
        const X r = roots[static_cast<std::size_t>(row)];
        for (int64_t d = strip * kStrip; d < end; ++d) {
          grad_in[1].data()[d] += over(dy[d] * x[d], r, floor);
        }
      }
    });
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    unite_cellwise(in, out);
  }

  // Own rounding: a sum of D squares under a root (D/2 steps), division, root, two products;
  // eager: the quotient and its product with the gain are rounded to storage.
  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    const int64_t width = in[1].size();
    const double rounding = chain_error(model, static_cast<double>(width) / 2 + 6);
    for_rows(out.size() / width, width, [&](int64_t row) {
      const int64_t first = row * width;
      double* error = out_error.data() + first;
      if (in_error[0].absent()) {
        std::fill(error, error + width, 0.0);
      } else {
        const auto row_of = [&](const Array& x) {
          return x.values().subspan(static_cast<std::size_t>(first),
                                    static_cast<std::size_t>(width));
        };
        normalized_error(model, row_of(in[0]), row_of(in_error[0]), 0, eps_,
                         {error, static_cast<std::size_t>(width)});
      }
      const double length = in_error[1].absent() ? 1 : root(in[0].data() + first, width);
      for (int64_t d = 0; d < width; ++d) {
        ErrorSum total(model);
        total.add(in[1].data()[d] * error[d]);
        if (!in_error[1].absent()) {  // of the gain, on what it multiplies
          const double off = in_error[1].data()[d];
          total.add(off * in[0].data()[first + d] / length);
          total.add(off * model.reach * error[d]);
        }
        total.add(rounding * out.data()[first + d]);
        if (model.eager_roundoff > 0) total.add(step_error(model, 2) * out.data()[first + d]);
        total.add(model.eager_least * in[1].data()[d]);
        error[d] = total.result();
      }
    });
  }

  double flops(std::span<const Operand>, const Operand& out) const override {
    return 4 * count_of(out);
  }

 private:
  template <class X>
  X root(const X* x, int64_t width) const {
    using std::sqrt;
    X squares = 0;
    for (int64_t d = 0; d < width; ++d) squares += x[d] * x[d];
    return sqrt(squares / X(static_cast<double>(width)) + X(eps_));
  }

  double eps_;
};

}  // namespace

Node rms_norm(Node x, Node gain, double eps) {
  return x.graph->add(std::make_shared<RmsNorm>(eps), {x, gain});
}

}  // namespace assay::reference
