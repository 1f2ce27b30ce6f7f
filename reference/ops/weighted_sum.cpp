#include "reference/ops/weighted_sum.h"

#include <fmt/format.h>

#include <cmath>

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

// Where the factors of a row of elements stand: f[i*term + first + s*key].
struct Place {
  int64_t term = 0, first = 0, key = 0;
};

class WeightedSum final : public Differentiated<WeightedSum> {
 public:
  explicit WeightedSum(Factor which) : which_(which) {}
  std::string name() const override { return "weighted_sum"; }
  bool in_place() const override { return true; }

  Operand result(std::span<const Operand> in) const override {
    const Operand &x = in[0], &f = in.back();
    for (const Operand& term : in.first(in.size() - 1)) {
      if (term.shape != x.shape || term.axes != x.axes) {
        throw InputError("weighted_sum: expected terms of one shape, got " +
                         golden::shape_text(x.shape) + " and " + golden::shape_text(term.shape));
      }
    }
    if (which_ != Factor::term) expect_axes(*this, in, 0, "BHTS");
    if (!fits(static_cast<int64_t>(in.size()) - 1, x.shape, f)) {
      throw InputError(fmt::format("weighted_sum: factors {} {} do not fit {} terms {} {}", f.axes,
                                   golden::shape_text(f.shape), in.size() - 1, x.axes,
                                   golden::shape_text(x.shape)));
    }
    return x;
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    const A& f = in.back();
    for_rows_of<X>(in, out, [&](int64_t first, int64_t keys, const Place& at) {
      for (int64_t s = 0; s < keys; ++s) {
        X y = f.data()[at.first + s * at.key] * in[0].data()[first + s];
        for (std::size_t i = 1; i + 1 < in.size(); ++i) {
          y += f.data()[static_cast<int64_t>(i) * at.term + at.first + s * at.key] *
               in[i].data()[first + s];
        }
        out.data()[first + s] = y;
      }
    });
  }

  bool reads_keys(std::size_t operand, std::size_t operands) const override {
    return which_ == Factor::key_feature && operand + 1 == operands;
  }
  // Parameters by position: f[i,t,s], f[i,s] or f[i,t] at the places of row and key.
  void value_at(const Places& at, std::span<const Array> in, Array& out) const override {
    const bool of_key = which_ == Factor::element || which_ == Factor::key;
    const bool of_query = which_ == Factor::element || which_ == Factor::query;
    if (!of_key && !of_query) return value(in, out);
    const Shape& x = out.shape();  // [B,H,T,S]
    const int64_t last = in.back().shape().back(), keys = x[3];
    const int64_t term = which_ == Factor::element ? last * last : last;
    for_rows(out.size() / keys, static_cast<int64_t>(in.size()) * keys, [&](int64_t row) {
      const int64_t b = row / (x[1] * x[2]), t = std::max<int64_t>(at.query_at(b, row % x[2]), 0);
      const int64_t first = which_ == Factor::element ? t * last : of_query ? t : 0;
      for (int64_t s = 0; s < keys; ++s) {
        const double* f = in.back().data() + first;
        if (of_key) f += std::max<int64_t>(at.key_at(b, s), 0);
        const int64_t i = row * keys + s;
        double y = f[0] * in[0].data()[i];
        for (std::size_t j = 1; j + 1 < in.size(); ++j) {
          y += f[static_cast<int64_t>(j) * term] * in[j].data()[i];
        }
        out.data()[i] = y;
      }
    });
  }

  template <class A>
  void backward(std::span<const A> in, const A& out, const A& grad_out,
                std::span<A> grad_in) const {
    using X = typename A::Element;
    const X* f = in.back().data();
    for_rows_of<X>(in, out, [&](int64_t first, int64_t keys, const Place& at) {
      for (std::size_t i = 0; i + 1 < in.size(); ++i) {
        if (grad_in[i].absent()) continue;
        X* dx = grad_in[i].data() + first;
        const X* factor = f + static_cast<int64_t>(i) * at.term + at.first;
        for (int64_t s = 0; s < keys; ++s) dx[s] += factor[s * at.key] * grad_out.data()[first + s];
      }
    });
    if (grad_in.back().absent()) return;
    // A factor is read by one term only, so terms go apart; each sums its rows in ascending order.
    for_rows<X>(static_cast<int64_t>(in.size()) - 1, out.size(), [&](int64_t i) {
      const int64_t keys = row_size(out.shape());
      const X* x = in[static_cast<std::size_t>(i)].data();
      for (int64_t row = 0; row < out.size() / keys; ++row) {
        const Place at = place(in, row);
        X* df = grad_in.back().data() + i * at.term + at.first;
        for (int64_t s = 0; s < keys; ++s) {
          df[s * at.key] += grad_out.data()[row * keys + s] * x[row * keys + s];
        }
      }
    });
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    for (int64_t cell = 0; cell < out.cells(); ++cell) {
      bool zero = true;
      for (const Relation& term : in.first(in.size() - 1)) {
        ASSAY_CHECK(term.kind(cell) != Relation::Cell::excluded, "weighted_sum of masked scores");
        zero = zero && term.kind(cell) == Relation::Cell::zero;
        out.unite(cell, term, cell);
      }
      if (zero) out.set_kind(cell, Relation::Cell::zero);
      if (!zero && by_feature()) {
        const Shape& shape = out.cell_shape();  // [B,H,T,S]
        const int64_t s = cell % shape[3], t = cell / shape[3] % shape[2];
        const int64_t b = cell / (shape[1] * shape[2] * shape[3]);
        out.unite(cell, in.back(), b * shape[2] + (which_ == Factor::key_feature ? s : t));
      }
    }
  }

  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    const double rounding = step_error(model, 1);
    for_rows_of<double>(in, out, [&](int64_t first, int64_t keys, const Place& at) {
      for (int64_t s = 0; s < keys; ++s) {
        ErrorSum total(model);
        double partial = 0;  // no partial sum is larger, in whatever order they are added
        for (std::size_t i = 0; i + 1 < in.size(); ++i) {
          const int64_t place = static_cast<int64_t>(i) * at.term + at.first + s * at.key;
          const double f = in.back().data()[place], ef = error_at(in_error.back(), place);
          const double x = in[i].data()[first + s], ex = error_at(in_error[i], first + s);
          partial += in.size() == 3 ? f * x : std::abs(f * x);
          total.add(f * ex);
          total.add(x * ef);
          total.add(model.reach * ex * ef);
          total.add(rounding * f * x);
        }
        for (std::size_t i = 2; i < in.size(); ++i) total.add(rounding * partial);
        out_error.data()[first + s] = total.result();
      }
    });
  }

  double flops(std::span<const Operand> in, const Operand& out) const override {
    return static_cast<double>(2 * in.size() - 3) * count_of(out);  // n products, n - 1 additions
  }

 private:
  bool by_feature() const {
    return which_ == Factor::key_feature || which_ == Factor::query_feature;
  }

  bool fits(int64_t terms, const Shape& x, const Operand& f) const {
    if (by_feature()) {
      return f.axes == "BTD" &&
             f.shape == Shape{x[0], x[which_ == Factor::key_feature ? 3 : 2], terms};
    }
    if (f.axes.find_first_not_of('D') != std::string::npos) return false;
    Shape shape = f.shape;  // of a single term the first axis may be left out
    const std::size_t rank = which_ == Factor::term ? 1 : which_ == Factor::element ? 3 : 2;
    if (terms == 1 && shape.size() + 1 == rank) shape.insert(shape.begin(), 1);
    if (shape.size() != rank || shape[0] != terms) return false;
    return std::all_of(shape.begin() + 1, shape.end(), [&](int64_t p) { return p >= x[2]; });
  }

  static int64_t row_size(const Shape& shape) { return shape.empty() ? 1 : shape.back(); }

  // Row (b*H + h)*T + t of the terms.
  template <class A>
  Place place(std::span<const A> in, int64_t row) const {
    if (which_ == Factor::term) return {.term = 1};
    const Shape &x = in[0].shape(), &f = in.back().shape();
    const int64_t t = row % x[2], b = row / (x[1] * x[2]), last = f.back();
    switch (which_) {
      case Factor::element:
        return {.term = last * last, .first = t * last, .key = 1};
      case Factor::key:
        return {.term = last, .first = 0, .key = 1};
      case Factor::query:
        return {.term = last, .first = t, .key = 0};
      case Factor::key_feature:
        return {.term = 1, .first = b * x[3] * last, .key = last};
      default:
        return {.term = 1, .first = (b * x[2] + t) * last, .key = 0};
    }
  }

  // body(first element of the row, elements in it, where its factors are)
  template <class X, class A, class Body>
  void for_rows_of(std::span<const A> in, const A& out, Body&& body) const {
    const int64_t keys = row_size(out.shape());
    for_rows<X>(out.size() / keys, static_cast<int64_t>(in.size()) * keys,
                [&](int64_t row) { body(row * keys, keys, place(in, row)); });
  }

  Factor which_;
};

}  // namespace

Node weighted_sum(const std::vector<Node>& terms, Node factors, Factor which) {
  ASSAY_CHECK(!terms.empty(), "weighted sum of nothing");
  std::vector<Node> operands = terms;
  operands.push_back(factors);
  return factors.graph->add(std::make_shared<WeightedSum>(which), operands);
}

}  // namespace assay::reference
