#include "reference/ops/mask.h"

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

class CausalMask final : public Computed<CausalMask> {
 public:
  std::string name() const override { return "causal_mask"; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BHTS");
    expect_axes(*this, in, 1, "BT");
    expect_extent(*this, "positions of the mask", in[0].shape[3], in[1].shape[1]);
    return in[0];
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    for_allowed(in, [&](int64_t i, bool allowed) {
      out.data()[i] = allowed ? in[0].data()[i] : X(-INFINITY);
    });
  }

  void gradient(std::span<const Array> in, const Array&, const Array& grad_out,
                std::span<Array> grad_in) const override {
    if (!grad_in[1].absent()) throw NotDifferentiable("causal_mask: the mask is a selection");
    if (grad_in[0].absent()) return;
    for_allowed(in, [&](int64_t i, bool allowed) {
      if (allowed) grad_in[0].data()[i] += grad_out.data()[i];
    });
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    const int64_t positions = out.cell_shape()[3];
    const int64_t batch_cells = out.cells() / out.cell_shape()[0];
    for (int64_t cell = 0; cell < out.cells(); ++cell) {
      const int64_t s = cell % positions, t = cell / positions % out.cell_shape()[2];
      if (s > t) {
        out.set_kind(cell, Relation::Cell::excluded);
      } else {
        out.unite(cell, in[0], cell);
        out.unite(cell, in[1], cell / batch_cells * positions + s);
      }
    }
  }

  void error(const ErrorModel&, std::span<const Array> in, std::span<const Array> in_error,
             const Array&, Array& out_error) const override {
    for_allowed(in, [&](int64_t i, bool allowed) {
      out_error.data()[i] = allowed ? error_at(in_error[0], i) : 0.0;
    });
  }

  double flops(std::span<const Operand>, const Operand&) const override { return 0; }

 private:
  template <class A, class Body>
  static void for_allowed(std::span<const A> in, Body&& body) {
    const int64_t queries = in[0].shape()[2], keys = in[0].shape()[3];
    const int64_t batch_rows = in[0].shape()[1] * queries;
    for_rows(in[0].size() / keys, keys, [&](int64_t row) {
      const auto* real = in[1].data() + row / batch_rows * keys;
      const int64_t t = row % queries;
      for (int64_t s = 0; s < keys; ++s) body(row * keys + s, s <= t && to_double(real[s]) != 0);
    });
  }
};

}  // namespace

Node causal_mask(Node scores, Node attention_mask) {
  return scores.graph->add(std::make_shared<CausalMask>(), {scores, attention_mask});
}

}  // namespace assay::reference
