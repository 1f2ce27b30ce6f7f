#include "reference/ops/query_bias.h"

#include <fmt/format.h>

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

class QueryBias final : public Differentiated<QueryBias> {
 public:
  std::string name() const override { return "query_bias"; }
  bool in_place() const override { return true; }
  bool gradient_reads(std::size_t) const override { return false; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BHTS");
    expect_axes(*this, in, 1, "D");
    if (in[1].shape[0] < in[0].shape[2]) {
      throw InputError(
          fmt::format("query_bias: positions of the parameter: expected at least {}, "
                      "got {}",
                      in[0].shape[2], in[1].shape[0]));
    }
    return in[0];
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    for_elements<X>(out.shape(), 2, [&](int64_t i) {
      out.data()[i] = in[0].data()[i] + in[1].data()[query_of(out.shape(), i)];
    });
  }

  void value_at(const Places& at, std::span<const Array> in, Array& out) const override {
    const int64_t keys = out.shape()[3], batch_rows = out.shape()[1] * out.shape()[2];
    for_rows(out.size() / keys, keys, [&](int64_t row) {
      const int64_t t = at.query_at(row / batch_rows, row % at.queries);
      const double c = t == kNoPosition ? 0 : in[1].data()[t];
      for (int64_t i = row * keys; i < (row + 1) * keys; ++i) out.data()[i] = in[0].data()[i] + c;
    });
  }

  template <class A>
  void backward(std::span<const A>, const A&, const A& grad_out, std::span<A> grad_in) const {
    using X = typename A::Element;
    if (!grad_in[0].absent()) {
      for_elements<X>(grad_out.shape(), 1,
                      [&](int64_t i) { grad_in[0].data()[i] += grad_out.data()[i]; });
    }
    if (grad_in[1].absent()) return;
    for (int64_t i = 0; i < grad_out.size(); ++i) {  // one sum an element of c, ascending
      grad_in[1].data()[query_of(grad_out.shape(), i)] += grad_out.data()[i];
    }
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    unite_cellwise(in, out);
    for (int64_t cell = 0; cell < out.cells(); ++cell) {
      ASSAY_CHECK(in[0].kind(cell) != Relation::Cell::excluded, "query_bias of masked scores");
    }
  }

  void error(const ErrorModel& model, std::span<const Array>, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    const double rounding = step_error(model, 1);
    for_elements(out.shape(), 4, [&](int64_t i) {
      ErrorSum total(model);
      total.add(error_at(in_error[0], i));
      total.add(error_at(in_error[1], query_of(out.shape(), i)));
      total.add(rounding * out.data()[i]);
      out_error.data()[i] = total.result();
    });
  }

  double flops(std::span<const Operand>, const Operand& out) const override {
    return count_of(out);
  }

 private:
  static int64_t query_of(const Shape& shape, int64_t i) { return i / shape[3] % shape[2]; }
};

}  // namespace

Node query_bias(Node scores, Node c) {
  return scores.graph->add(std::make_shared<QueryBias>(), {scores, c});
}

}  // namespace assay::reference
