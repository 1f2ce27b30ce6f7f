#include "reference/ops/dynamic_window.h"

#include <cmath>
#include <vector>

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

template <class X>
bool less(X a, X b) {
  return to_double(a) < to_double(b) || (to_double(a) == to_double(b) && to_double(a - b) < 0);
}

// What follows has steps and no slope.
template <class X>
X without_slope(X x) {
  if constexpr (std::is_same_v<X, Dual>) return Dual(x.value);
  return x;
}

// min and max of (2); a NaN stays.
template <class X>
struct Extremes {
  X least = INFINITY, most = -INFINITY;

  void add(X z) {
    const bool lost = std::isnan(to_double(least)), none = std::isnan(to_double(z));
    if (none || (!lost && less(z, least))) least = z;
    if (none || (!lost && less(most, z))) most = z;
  }
};

class WindowStrengths final : public Differentiated<WindowStrengths> {
 public:
  explicit WindowStrengths(const WindowRange& range) : range_(range) {}
  std::string name() const override { return "window_strengths"; }
  bool gradient_reads(std::size_t) const override { return false; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BHTS");
    expect_axes(*this, in, 1, "BT");
    expect_extent(*this, "positions of the mask", in[0].shape[3], in[1].shape[1]);
    return {{in[0].shape[0], in[0].shape[2], 3}, "BTD"};
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    form<X>(whole_of(in[0].shape()), in, nullptr, out);
  }

  bool reads_keys(std::size_t operand, std::size_t) const override { return operand == 1; }
  bool carries() const override { return true; }
  // in[2]: the result of earlier rows at the keys.
  void value_at(const Places& at, std::span<const Array> in, Array& out) const override {
    form<double>(at, in, &in[2], out);
  }

  template <class A>
  void backward(std::span<const A>, const A&, const A&, std::span<A> grad_in) const {
    if (!grad_in[1].absent()) throw NotDifferentiable(name() + ": the mask is a selection");
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    const Shape& shape = in[0].cell_shape();  // [B,H,T,S]
    const int64_t heads = shape[1], queries = shape[2], keys = shape[3];
    for (int64_t cell = 0; cell < out.cells(); ++cell) {
      const int64_t b = cell / queries, t = cell % queries;
      for (int64_t s = 0; s < keys; ++s) {
        if (!counts(t, s)) continue;
        out.unite(cell, in[1], b * keys + s);
        for (int64_t h = 0; h < heads; ++h) {
          out.unite(cell, in[0], ((b * heads + h) * queries + t) * keys + s);
        }
      }
      if (t > 0) out.unite(cell, out, cell - 1);
    }
  }

  // The extremes of numbers that may lie anywhere within their errors lie between those of the
  // lower and those of the upper ends.
  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    const int64_t queries = out.shape()[1];
    for_rows(out.size() / 3, in[0].shape()[1] * in[0].shape()[3], [&](int64_t row) {
      out_error.data()[3 * row] = strength_error(model, in, in_error[0], row, out.data()[3 * row]);
    });
    for (int64_t b = 0; b < out.shape()[0]; ++b) {
      Extremes<double> low, high;
      for (int64_t row = b * queries; row < (b + 1) * queries; ++row) {
        const double* y = out.data() + 3 * row;
        double* e = out_error.data() + 3 * row;
        e[1] = farther(y[1], low.least, high.least) / model.reach;
        e[2] = farther(y[2], low.most, high.most) / model.reach;
        if (in[1].data()[row] == 0) continue;
        low.add(y[0] - model.reach * e[0]);
        high.add(y[0] + model.reach * e[0]);
      }
    }
  }

  double flops(std::span<const Operand> in, const Operand&) const override {
    return 2 * count_of(in[0]);
  }

 private:
  bool counts(int64_t t, int64_t s) const {
    return s <= t && (t - range_.most < s || s < range_.sinks);
  }

  static double farther(double y, double low, double high) {
    return std::isfinite(y) ? std::max({y - low, high - y, 0.0}) : 0;
  }

  template <class X, class A>
  void form(const Places& at, std::span<const A> in, const Array* earlier, A& out) const {
    for_rows<X>(at.batch * at.queries, in[0].shape()[1] * at.keys, [&](int64_t row) {
      out.data()[3 * row] = strength<X>(at, in, row / at.queries, row % at.queries);
    });
    for (int64_t b = 0; b < at.batch; ++b) {
      Extremes<X> seen;
      bool first = true;
      for (int64_t i = 0; i < at.queries; ++i) {
        X* y = out.data() + 3 * (b * at.queries + i);
        const int64_t t = at.query_at(b, i);
        if constexpr (std::is_same_v<X, double>) {
          if (earlier != nullptr && first && t > 0) seen = before(at, b, t, in[1], *earlier);
        }
        y[1] = seen.least;
        y[2] = seen.most;
        if (t == kNoPosition) continue;
        first = false;
        if (to_double(in[1].data()[b * at.keys + at.keys - at.queries + i]) != 0) seen.add(y[0]);
      }
    }
  }

  // The extremes of the positions up to t - 1, which is among the keys.
  static Extremes<double> before(const Places& at, int64_t b, int64_t t, const Array& real,
                                 const Array& earlier) {
    for (int64_t s = 0; s < at.keys; ++s) {
      if (at.key_at(b, s) != t - 1) continue;
      const double* y = earlier.data() + 3 * (b * at.keys + s);
      Extremes<double> seen{y[1], y[2]};
      if (real.data()[b * at.keys + s] != 0) seen.add(y[0]);
      return seen;
    }
    throw InternalError("window_strengths: position t - 1 is not among the keys");
  }

  // Row i of the queries, over heads and then keys.
  template <class X, class A>
  X strength(const Places& at, std::span<const A> in, int64_t b, int64_t i) const {
    const int64_t heads = in[0].shape()[1], t = at.query_at(b, i);
    X total = 0;
    int64_t terms = 0;
    if (t == kNoPosition) return total;
    for (int64_t h = 0; h < heads; ++h) {
      const auto* score = in[0].data() + ((b * heads + h) * at.queries + i) * at.keys;
      for (int64_t s = 0; s < at.keys; ++s) {
        const int64_t key = at.key_at(b, s);
        if (key == kNoPosition || !counts(t, key)) continue;
        if (to_double(in[1].data()[b * at.keys + s]) == 0) continue;
        const X size = to_double(score[s]) < 0 ? -score[s] : score[s];
        total += without_slope(size);
        ++terms;
      }
    }
    return terms == 0 ? total : total / X(static_cast<double>(terms));
  }

  // Of z_t: errors of scores average out where the scores keep their signs; one near 0 adds its
  // size.
  double strength_error(const ErrorModel& model, std::span<const Array> in, const Array& in_error,
                        int64_t row, double z) const {
    const Shape& shape = in[0].shape();
    const int64_t heads = shape[1], queries = shape[2], keys = shape[3];
    const int64_t b = row / queries, t = row % queries;
    ErrorSum moved(model);
    double bent = 0;
    int64_t terms = 0;
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t s = 0; s < keys; ++s) {
        if (!counts(t, s) || in[1].data()[b * keys + s] == 0) continue;
        const int64_t i = ((b * heads + h) * queries + t) * keys + s;
        const double e = error_at(in_error, i);
        moved.add(e);
        bent += std::max(0.0, e - std::fabs(in[0].data()[i]) / 2);
        ++terms;
      }
    }
    if (terms == 0) return 0;
    const auto n = static_cast<double>(terms);
    const bool worst = model.norm == ErrorNorm::worst;
    const double sum = chain_error(model, n) * z, last = step_error(model, 2) * z;
    if (worst) return moved.result() / n + sum + last;
    return root_sum_square(moved.result() / n, sum, last) + bent / n;
  }

  WindowRange range_;
};

class WindowSizes final : public Differentiated<WindowSizes> {
 public:
  explicit WindowSizes(const WindowRange& range) : range_(range) {}
  std::string name() const override { return "window_sizes"; }
  bool gradient_reads(std::size_t) const override { return false; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BTD");
    expect_extent(*this, "features", 3, in[0].shape[2]);
    return {{in[0].shape[0], in[0].shape[1]}, "BT"};
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    for_rows<X>(out.size(), 8, [&](int64_t row) {
      const X* y = in[0].data() + 3 * row;
      Extremes<X> all{y[1], y[2]};
      all.add(y[0]);
      const bool alike = to_double(all.most - all.least) == 0;
      const X share = alike ? X(0.5) : (y[0] - all.least) / (all.most - all.least);
      out.data()[row] = X(static_cast<double>(range_.least) + floor_of(share * X(width())));
    });
  }

  // A step has no slope.
  template <class A>
  void backward(std::span<const A>, const A&, const A&, std::span<A>) const {}

  void dependence(std::span<const Relation> in, Relation& out) const override {
    if (range_.least < range_.most) unite_cellwise(in, out);
  }

  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    for_rows(out.size(), 16, [&](int64_t row) {
      const double* y = in[0].data() + 3 * row;
      const auto e = [&](int64_t i) { return error_at(in_error[0], 3 * row + i); };
      out_error.data()[row] = size_error(model, y, {e(0), e(1), e(2)}, out.data()[row]);
    });
  }

  double flops(std::span<const Operand>, const Operand&) const override { return 0; }

 private:
  double width() const { return static_cast<double>(range_.most - range_.least); }

  template <class X>
  static double floor_of(X y) {
    const double whole_part = std::floor(to_double(y));
    if constexpr (std::is_same_v<X, DoubleDouble>) {
      return y.hi == whole_part && y.lo < 0 ? whole_part - 1 : whole_part;
    }
    return whole_part;
  }

  static double share(double z, double least, double most) {
    const double low = std::min(least, z), high = std::max(most, z);
    return low < high ? (z - low) / (high - low) : 0.5;
  }

  // How far another W may lie from w: the share grows with z and falls with both extremes, so it is
  // largest where z is and these are smallest. It is exact where z is beyond both for sure.
  double size_error(const ErrorModel& model, const double* y, const double (&error)[3],
                    double w) const {
    const double z = y[0], least = y[1], most = y[2];
    if (!(least <= most)) return 0;  // no position before it: 1/2
    const bool worst = model.norm == ErrorNorm::worst;
    // In double the golden value errs as much. A step within three deviations counts in theirs.
    const double k = worst ? (model.unit_roundoff <= 0x1p-53 ? 2 : 1) : std::max(model.reach, 3.0);
    const double ez = k * error[0], el = k * error[1], em = k * error[2];
    if (ez + el + em == 0 && least == most && z == least) return 0;
    const double rounding = k * step_error(model, 3);
    const double large = share(z + ez, least - el, std::max(least - el, most - em));
    const double small = share(z - ez, std::min(least + el, most + em), most + em);
    const double high = std::min(width(), large * width() * (1 + rounding));
    const double low = small == 1 ? width() : small * width() * (1 - rounding);
    const double base = static_cast<double>(range_.least);
    const double moved = std::max(base + std::floor(high) - w, w - base - std::floor(low));
    if (!(moved > 0)) return 0;
    return worst ? moved : (moved + 0.25) / model.reach;
  }

  WindowRange range_;
};

}  // namespace

Node window_strengths(Node scores, Node attention_mask, const WindowRange& range) {
  return scores.graph->add(std::make_shared<WindowStrengths>(range), {scores, attention_mask});
}

Node window_sizes(Node strengths, const WindowRange& range) {
  return strengths.graph->add(std::make_shared<WindowSizes>(range), {strengths});
}

}  // namespace assay::reference
