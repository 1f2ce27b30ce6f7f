#include "reference/ops/softmax.h"

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

class Softmax final : public Computed<Softmax> {
 public:
  std::string name() const override { return "softmax"; }
  bool in_place() const override { return true; }
  bool gradient_reads(std::size_t) const override { return false; }
  bool gradient_reads_result() const override { return true; }

  Operand result(std::span<const Operand> in) const override {
    if (in[0].axes != "BHTS" && in[0].axes != "BTD" && in[0].axes != "D") {
      throw InputError("softmax: operand 0: expected axes BHTS, BTD or D, got " + in[0].axes + " " +
                       golden::shape_text(in[0].shape));
    }
    return in[0];
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    const int64_t keys = out.shape().back();
    for_rows<X>(out.size() / keys, 8 * keys, [&](int64_t row) {
      using std::exp;
      const X* x = in[0].data() + row * keys;
      X* p = out.data() + row * keys;
      const X most = largest(x, keys);
      X total = 0;
      for (int64_t s = 0; s < keys; ++s) {
        p[s] = to_double(x[s]) == -INFINITY ? X(0.0) : exp(x[s] - most);
        total += p[s];
      }
      if (to_double(most) == -INFINITY && to_double(total) == 0) return;  // no allowed key
      for (int64_t s = 0; s < keys; ++s) p[s] /= total;
    });
  }

  // dx_s = p_s ( dp_s - sum_s' p_s' dp_s' )
  void gradient(std::span<const Array>, const Array& out, const Array& grad_out,
                std::span<Array> grad_in) const override {
    if (grad_in[0].absent()) return;
    const int64_t keys = out.shape().back();
    for_rows(out.size() / keys, keys, [&](int64_t row) {
      const double* p = out.data() + row * keys;
      const double* dp = grad_out.data() + row * keys;
      double mean = 0;
      for (int64_t s = 0; s < keys; ++s) mean += p[s] * dp[s];
      double* dx = grad_in[0].data() + row * keys;
      for (int64_t s = 0; s < keys; ++s) dx[s] += p[s] * (dp[s] - mean);
    });
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    if (!out.cell_axes().ends_with('S')) {  // a row of features is one cell
      unite_cellwise(in, out);
      return;
    }
    const int64_t keys = out.cell_shape()[3];
    Relation row_sources({1}, "B", out.sources());
    for (int64_t row = 0; row < out.cells() / keys; ++row) {
      row_sources = Relation({1}, "B", out.sources());
      for (int64_t s = 0; s < keys; ++s) {
        if (in[0].kind(row * keys + s) != Relation::Cell::excluded) {
          row_sources.unite(0, in[0], row * keys + s);
        }
      }
      for (int64_t s = 0; s < keys; ++s) {
        if (in[0].kind(row * keys + s) == Relation::Cell::excluded) {
          out.set_kind(row * keys + s, Relation::Cell::zero);
        } else {
          out.unite(row * keys + s, row_sources, 0);
        }
      }
    }
  }

  // With x + e, |e_s| <= bound_s, p_s grows by at most exp(bound_s) / sum_s' p_s' exp(-bound_s')
  // and shrinks by at most exp(-bound_s) / sum_s' p_s' exp(bound_s'); neither is always the larger
  // move. An implementation's exponent x - max also carries roundings: of the difference (|x| +
  // |max| + log T) and of exp itself (a few units), twice where probabilities are rebuilt from a
  // stored log-sum-exp.
  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    const int64_t keys = out.shape().back();
    const double log_keys = std::log(static_cast<double>(keys));
    for_rows(out.size() / keys, 8 * keys, [&](int64_t row) {
      const double* x = in[0].data() + row * keys;
      const double* p = out.data() + row * keys;
      double* e = out_error.data() + row * keys;
      const double most = largest(x, keys);
      for (int64_t s = 0; s < keys; ++s) {
        ErrorSum exponent(model);
        exponent.add(p[s] == 0 ? 0.0 : error_at(in_error[0], row * keys + s));
        exponent.add(p[s] == 0 ? 0.0
                               : chain_error(model, 2) *
                                     (std::fabs(x[s]) + std::fabs(most) + log_keys + 6));
        e[s] = exponent.result();
      }
      if (model.norm == ErrorNorm::worst) {
        worst_row(model, p, e, keys);
      } else {
        deviation_row(model, p, e, keys);
      }
    });
  }

  double flops(std::span<const Operand>, const Operand& out) const override {
    return 4 * count_of(out);
  }

 private:
  template <class X>
  static X largest(const X* x, int64_t keys) {
    X most = -INFINITY;
    for (int64_t s = 0; s < keys; ++s) most = to_double(x[s]) > to_double(most) ? x[s] : most;
    return most;
  }

  // A probability cannot leave [0, 1], however uncertain its score is.
  static double farthest(double p) { return std::max(p, 1 - p); }

  static void worst_row(const ErrorModel& model, const double* p, double* e, int64_t keys) {
    double shrunk = 0, grown = 0;
    for (int64_t s = 0; s < keys; ++s) {
      shrunk += p[s] * std::exp(-e[s]);
      grown += p[s] * std::exp(e[s]);
    }
    const double sum_rounding = chain_error(model, static_cast<double>(keys) + 2);
    for (int64_t s = 0; s < keys; ++s) {
      const double up = std::exp(e[s]) / shrunk * (1 + sum_rounding) - 1;
      const double down = 1 - std::exp(-e[s]) / grown * (1 - sum_rounding);
      // Two probabilities differ by 1 at most.
      e[s] = p[s] == 0 ? 0.0 : std::min(p[s] * std::max(up, down), 1.0);
    }
  }

  static void deviation_row(const ErrorModel& model, const double* p, double* e, int64_t keys) {
    double common = 0;  // variance of log(sum)
    for (int64_t s = 0; s < keys; ++s) common += p[s] * p[s] * e[s] * e[s];
    const double sum_rounding = chain_error(model, static_cast<double>(keys) + 2);
    common += sum_rounding * sum_rounding;
    for (int64_t s = 0; s < keys; ++s) {
      e[s] = p[s] == 0 ? 0.0 : std::min(p[s] * std::sqrt(e[s] * e[s] + common), farthest(p[s]));
    }
  }
};

}  // namespace

Node softmax(Node scores) { return scores.graph->add(std::make_shared<Softmax>(), {scores}); }

}  // namespace assay::reference
