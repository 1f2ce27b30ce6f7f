#include "reference/ops/dynamic_mask.h"

#include <cmath>

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

class DynamicMask final : public Differentiated<DynamicMask> {
 public:
  explicit DynamicMask(const WindowRange& range) : range_(range) {}
  std::string name() const override { return "causal_mask"; }
  bool in_place() const override { return true; }
  bool gradient_reads(std::size_t operand) const override { return operand != 0; }
  const WindowRange& range() const { return range_; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BHTS");
    expect_axes(*this, in, 1, "BT");
    expect_axes(*this, in, 2, "BT");
    expect_extent(*this, "positions of the mask", in[0].shape[3], in[1].shape[1]);
    expect_extent(*this, "sizes of windows", in[0].shape[2], in[2].shape[1]);
    return in[0];
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    for_scores(whole_of(out.shape()), in, [&](int64_t i, double inside) {
      out.data()[i] = inside > 0 ? in[0].data()[i] : std::isnan(inside) ? X(NAN) : X(-INFINITY);
    });
  }

  bool reads_keys(std::size_t operand, std::size_t) const override { return operand == 1; }
  void value_at(const Places& at, std::span<const Array> in, Array& out) const override {
    for_scores(at, in, [&](int64_t i, double inside) {
      out.data()[i] = inside > 0 ? in[0].data()[i] : std::isnan(inside) ? NAN : -INFINITY;
    });
  }

  template <class A>
  void backward(std::span<const A> in, const A& out, const A& grad_out,
                std::span<A> grad_in) const {
    if (!grad_in[1].absent()) throw NotDifferentiable(name() + ": the mask is a selection");
    if (grad_in[0].absent()) return;
    for_scores(whole_of(out.shape()), in, [&](int64_t i, double inside) {
      if (inside > 0) {
        grad_in[0].data()[i] += grad_out.data()[i];
      } else if constexpr (std::is_same_v<typename A::Element, Uncertain>) {
        // A key that another window may hold has a gradient there.
        const int64_t row = i / out.shape()[3], queries = out.shape()[2];
        const Uncertain& size =
            in[2].data()[row / (out.shape()[1] * queries) * queries + row % queries];
        const double reach = std::floor(uncertain_rule().reach * size.deviation() + kSlack);
        if (inside + reach > 0) grad_in[0].data()[i] += Uncertain(0, grad_out.data()[i].variance);
      }
    });
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    const Shape& shape = out.cell_shape();
    for (int64_t cell = 0; cell < out.cells(); ++cell) {
      const int64_t s = cell % shape[3], t = cell / shape[3] % shape[2];
      const int64_t b = cell / (shape[1] * shape[2] * shape[3]);
      const bool sink = s < range_.sinks;
      if (s > t || (t - range_.most >= s && !sink)) {
        out.set_kind(cell, Relation::Cell::excluded);
        continue;
      }
      out.unite(cell, in[0], cell);
      out.unite(cell, in[1], b * shape[3] + s);
      if (t - range_.least >= s && !sink) out.unite(cell, in[2], b * shape[2] + t);
    }
  }

  // Whether a key is there is uncertain where the size is: its score may be anything.
  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    const Shape& shape = out.shape();
    for_scores(whole_of(shape), in, [&](int64_t i, double inside) {
      const int64_t row = i / shape[3], b = row / (shape[1] * shape[2]);
      const double e = error_at(in_error[2], b * shape[2] + row % shape[2]);
      const double reach = std::floor(model.reach * e + kSlack);
      const bool certain = inside > 0 ? inside - reach > 0 : inside + reach <= 0;
      out_error.data()[i] = !certain ? INFINITY : inside > 0 ? error_at(in_error[0], i) : 0;
    });
  }

  double flops(std::span<const Operand>, const Operand&) const override { return 0; }

 private:
  // What a whole number that was scaled and scaled back may lack.
  static constexpr double kSlack = 1e-3;

  // body(i, inside) for every score i: by how many positions the key lies within the query's
  // window (0 or less: outside, -infinity: whatever its size; infinity: always inside; NaN: the
  // size is).
  template <class A, class Body>
  void for_scores(const Places& at, std::span<const A> in, Body&& body) const {
    const Shape& shape = in[0].shape();
    const int64_t heads = shape[1], queries = at.queries, keys = at.keys;
    for_rows(at.batch * heads * queries, keys, [&](int64_t row) {
      const int64_t b = row / (heads * queries), i = row % queries, t = at.query_at(b, i);
      const double size = to_double(in[2].data()[b * queries + i]);
      for (int64_t k = 0; k < keys; ++k) {
        const int64_t s = at.key_at(b, k);
        double inside = -INFINITY;
        if (t != kNoPosition && s != kNoPosition && s <= t &&
            to_double(in[1].data()[b * keys + k]) != 0) {
          inside = s < range_.sinks ? INFINITY : size - static_cast<double>(t - s);
        }
        body(row * keys + k, inside);
      }
    });
  }

  WindowRange range_;
};

}  // namespace

Node causal_mask(Node scores, Node attention_mask, Node sizes, const WindowRange& range) {
  return scores.graph->add(std::make_shared<DynamicMask>(range), {scores, attention_mask, sizes});
}

const WindowRange* window_range_of(const Op& op) {
  const auto* mask = dynamic_cast<const DynamicMask*>(&op);
  return mask == nullptr ? nullptr : &mask->range();
}

}  // namespace assay::reference
