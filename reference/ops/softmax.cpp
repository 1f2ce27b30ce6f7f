#include "reference/ops/softmax.h"

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

class Softmax final : public Differentiated<Softmax> {
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
  template <class A>
  void backward(std::span<const A>, const A& out, const A& grad_out, std::span<A> grad_in) const {
    using X = typename A::Element;
    if (grad_in[0].absent()) return;
    const int64_t keys = out.shape().back();
    for_rows<X>(out.size() / keys, keys, [&](int64_t row) {
      const X* p = out.data() + row * keys;
      const X* dp = grad_out.data() + row * keys;
      X mean = 0;
      for (int64_t s = 0; s < keys; ++s) mean += p[s] * dp[s];
      X* dx = grad_in[0].data() + row * keys;
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

  // Every exponent x_s - max is off by up to a_s: its operand's error and its own roundings (of the
  // difference, |x_s| + |max| + log T, and of exp, a few units, twice where probabilities are
  // rebuilt from a stored log-sum-exp). log p_s = x_s - log sum_j exp(x_j) then moves up by at most
  // a_s + L and down by at most a_s + G, where L and G are how far log sum_j p_j exp(d_j),
  // |d_j| <= a_j, can fall and rise, and p_s by p_s expm1(a_s + L) and p_s (1 - exp(-a_s - G)):
  //   worst      L = -log sum_j p_j exp(-a_j),  G = log sum_j p_j exp(a_j)
  //   deviation  a_s of reach deviations; roots of summed squares in place of the three sums
  // The largest probability is 1 less the others, so inherited errors move it by no more than the
  // sum of theirs. In a row with a key of which nobody knows whether it is there, an infinite
  // error, probabilities of keys that may be may be anything.
  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    const int64_t keys = out.shape().back();
    const double log_keys = std::log(static_cast<double>(keys));
    for_rows(out.size() / keys, 16 * keys, [&](int64_t row) {
      const Row at{in[0].data() + row * keys, out.data() + row * keys, keys, log_keys};
      double* e = out_error.data() + row * keys;
      const int64_t top = std::max_element(at.x, at.x + keys) - at.x;
      if (!in_error[0].absent() && open_row(model, at, in_error[0].data() + row * keys, e)) return;
      if (at.x[top] == -INFINITY) {  // no allowed key
        std::fill(e, e + keys, 0.0);
        return;
      }
      for (int64_t s = 0; s < keys; ++s) {
        ErrorSum exponent(model);
        exponent.add(at.masked(s) ? 0.0 : error_at(in_error[0], row * keys + s));
        exponent.add(exponent_rounding(model, at, s, top));
        e[s] = model.reach * exponent.result();
      }
      move_row(model, at, top, e);
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

  struct Row {
    const double *x, *p;
    int64_t keys;
    double log_keys;

    bool masked(int64_t s) const { return x[s] == -INFINITY; }
  };

  // Fills in the errors of a row with a key that may be there or not; false: it has none.
  static bool open_row(const ErrorModel& model, const Row& at, const double* in, double* e) {
    const auto unsure = [](double x) { return x == INFINITY; };
    if (std::none_of(in, in + at.keys, unsure)) return false;
    for (int64_t s = 0; s < at.keys; ++s) {
      const double most = model.norm == ErrorNorm::worst ? 1.0 : std::max(at.p[s], 1 - at.p[s]);
      e[s] = at.masked(s) && !unsure(in[s]) ? 0 : most;
    }
    return true;
  }

  static double exponent_rounding(const ErrorModel& model, const Row& at, int64_t s, int64_t top) {
    if (at.masked(s)) return 0;
    return chain_error(model, 2) * (std::fabs(at.x[s]) + std::fabs(at.x[top]) + at.log_keys + 6);
  }

  // In: a_s. Out: the errors of p_s.
  static void move_row(const ErrorModel& model, const Row& at, int64_t top, double* e) {
    const bool worst = model.norm == ErrorNorm::worst;
    ErrorSum shrunk(model), grown(model);
    double kept = 0;  // at least, of the sum of 1
    for (int64_t s = 0; s < at.keys; ++s) {
      if (at.p[s] == 0) continue;
      kept += at.p[s] * remainder(e[s]);
      shrunk.add(at.p[s] * shrinkage(e[s]));
      grown.add(at.p[s] * growth(e[s]));
    }
    const double lost = shrunk.result();
    const double left = worst ? kept : std::max(1 - lost, kept);
    const double fall = lost < 0.5 ? -std::log1p(-lost) : -std::log(left);
    const double rise = std::log1p(grown.result());
    const double sum = model.reach * chain_error(model, static_cast<double>(at.keys) + 2);
    const auto joined = [&](double a, double b) {  // with the rounding of the sum, sum < 1/2
      return worst ? a + b + 2 * sum : root_sum_square(a, b, sum);
    };
    const double log_top = std::log(at.p[top]);
    double others = 0;
    const double own = joined(model.reach * exponent_rounding(model, at, top, top), 0);
    for (int64_t s = 0; s < at.keys; ++s) {
      if (at.masked(s)) {
        e[s] = 0;
        continue;
      }
      const double p = at.p[s], log_p = at.x[s] - at.x[top] + log_top;
      const double up = exponential_move(p, log_p, joined(e[s], fall));
      const double down = p * shrinkage(joined(e[s], rise));
      // Two probabilities differ by 1 at most, one from p by what is on the far side of p.
      const double most = worst ? 1.0 : std::max(p, 1 - p);
      e[s] = std::min(std::max(up, down) / model.reach + model.least, most);
      if (s != top) others += e[s];
    }
    e[top] = std::min(e[top], others + at.p[top] * growth(own) / model.reach + model.least);
  }
};

}  // namespace

Node softmax(Node scores) { return scores.graph->add(std::make_shared<Softmax>(), {scores}); }

}  // namespace assay::reference
