#include "reference/ops/layer_norm.h"

#include <vector>

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

// mean(x) and r of one row.
template <class X>
struct Moments {
  X mean = 0, root = 0;

  Moments(const X* x, int64_t width, double eps) {
    using std::sqrt;
    const X count(static_cast<double>(width));
    for (int64_t d = 0; d < width; ++d) mean += x[d];
    mean /= count;
    for (int64_t d = 0; d < width; ++d) root += (x[d] - mean) * (x[d] - mean);
    root = sqrt(root / count + X(eps));
  }
};

class LayerNorm final : public Differentiated<LayerNorm> {
 public:
  explicit LayerNorm(double eps) : eps_(eps) {}
  std::string name() const override { return "layer_norm"; }
  bool in_place() const override { return true; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BTD");
    expect_axes(*this, in, 1, "D");
    expect_axes(*this, in, 2, "D");
    expect_extent(*this, "gain", in[0].shape[2], in[1].shape[0]);
    expect_extent(*this, "bias", in[0].shape[2], in[2].shape[0]);
    return in[0];
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    const int64_t width = in[1].size();
    const X *gain = in[1].data(), *bias = in[2].data();
    for_rows<X>(out.size() / width, width, [&](int64_t row) {
      const X* x = in[0].data() + row * width;
      const Moments<X> m(x, width, eps_);
      const X inverse = X(1.0) / m.root;
      X* y = out.data() + row * width;
      for (int64_t d = 0; d < width; ++d) y[d] = gain[d] * ((x[d] - m.mean) * inverse) + bias[d];
    });
  }

  // With z_d = c_d / r and u_d = g_d dy_d:
  //   dx_d = ( u_d - mean(u) - z_d mean(u z) ) / r
  //   dg_d = sum_rows dy_d z_d;   dh_d = sum_rows dy_d
  template <class A>
  void backward(std::span<const A> in, const A&, const A& grad_out, std::span<A> grad_in) const {
    using X = typename A::Element;
    const int64_t width = in[1].size(), rows = grad_out.size() / width;
    const X* gain = in[1].data();
    const double floor = std::sqrt(eps_);  // of a root
    if (!grad_in[0].absent()) {
      for_rows<X>(rows, width, [&](int64_t row) {
        const X* x = in[0].data() + row * width;
        const X* dy = grad_out.data() + row * width;
        const Moments<X> m(x, width, eps_);
        X mean = 0, along = 0;
        for (int64_t d = 0; d < width; ++d) {
          mean += gain[d] * dy[d];
          along += over(gain[d] * dy[d] * (x[d] - m.mean), m.root, floor);
        }
        mean /= X(static_cast<double>(width));
        along /= X(static_cast<double>(width));
        X* dx = grad_in[0].data() + row * width;
        for (int64_t d = 0; d < width; ++d) {
          const X normal = over(x[d] - m.mean, m.root, floor);
          dx[d] += over(gain[d] * dy[d] - mean - normal * along, m.root, floor);
        }
      });
    }
    if (grad_in[1].absent() && grad_in[2].absent()) return;
    for (int64_t row = 0; row < rows; ++row) {
      const X* x = in[0].data() + row * width;
      const X* dy = grad_out.data() + row * width;
      const Moments<X> m(x, width, eps_);
      for (int64_t d = 0; d < width; ++d) {
        if (!grad_in[1].absent()) {
          grad_in[1].data()[d] += over(dy[d] * (x[d] - m.mean), m.root, floor);
        }
        if (!grad_in[2].absent()) grad_in[2].data()[d] += dy[d];
      }
    }
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    unite_cellwise(in, out);
  }

  // Own rounding. The mean is off by at most (D + 3) u mean|x|: its sum, its division, and the two
  // steps more of kernels that subtract it as mean/r. That moves all c_d of a row alike, like an
  // error of x that the norm does not see. Relative to c_d / r: a difference, D squares under a
  // root (D/2 steps and the differences in them), division, root, two products; then one sum.
  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    const int64_t width = in[1].size();
    const auto count = static_cast<double>(width);
    const double scaling = chain_error(model, count / 2 + 8), adding = chain_error(model, 1);
    for_rows(out.size() / width, width, [&](int64_t row) {
      const int64_t first = row * width;
      const double* x = in[0].data() + first;
      const double* e = in_error[0].absent() ? nullptr : in_error[0].data() + first;
      double* error = out_error.data() + first;
      double size = 0;
      for (int64_t d = 0; d < width; ++d) size += std::fabs(x[d]) / count;
      const double shift = chain_error(model, count + 3) * size;
      const Moments<double> m(x, width, eps_);
      std::vector<double> centred(x, x + width);
      for (double& c : centred) c -= m.mean;
      const std::span<double> moves(error, static_cast<std::size_t>(width));
      const double common = centred_error(model, e, shift, moves);
      normalized_error(model, centred, moves, common, eps_, moves);
      for (int64_t d = 0; d < width; ++d) {
        const double gain = in[1].data()[d];
        ErrorSum total(model);
        total.add(gain * error[d]);
        if (!in_error[1].absent()) {  // of the gain, on what it multiplies
          const double off = in_error[1].data()[d];
          total.add(off * (x[d] - m.mean) / m.root);
          total.add(off * model.reach * error[d]);
        }
        total.add(error_at(in_error[2], d));
        total.add(scaling * gain * (x[d] - m.mean) / m.root);
        total.add(adding * out.data()[first + d]);
        if (model.eager_roundoff > 0) {
          total.add(step_error(model, 2) * (std::fabs(out.data()[first + d] - in[2].data()[d])));
        }
        total.add(model.eager_least * (std::fabs(gain) + 1));
        error[d] = total.result();
      }
    });
  }

  double flops(std::span<const Operand>, const Operand& out) const override {
    return 7 * count_of(out);
  }

 private:
  // How far c_d = x_d - mean(x) moves: at worst by (1 - 1/D) e_d + sum_{i != d} e_i / D + shift. As
  // a deviation by e_d alone, and all alike by the one of the mean, which is returned.
  static double centred_error(const ErrorModel& model, const double* e, double shift,
                              std::span<double> error) {
    const auto count = static_cast<double>(error.size());
    ErrorSum sum(model);
    for (std::size_t d = 0; e != nullptr && d < error.size(); ++d) sum.add(e[d]);
    const double all = sum.result();
    for (std::size_t d = 0; d < error.size(); ++d) {
      const double own = e == nullptr ? 0 : e[d];
      error[d] = model.norm == ErrorNorm::deviation
                     ? own
                     : (1 - 1 / count) * own + std::max(0.0, all - own) / count + shift;
    }
    return model.norm == ErrorNorm::deviation ? root_sum_square(all / count, shift) : 0;
  }

  double eps_;
};

}  // namespace

Node layer_norm(Node x, Node gain, Node bias, double eps) {
  return x.graph->add(std::make_shared<LayerNorm>(eps), {x, gain, bias});
}

}  // namespace assay::reference
