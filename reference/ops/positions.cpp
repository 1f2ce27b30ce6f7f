#include "reference/ops/positions.h"

#include <fmt/format.h>

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

class AddPositions final : public Differentiated<AddPositions> {
 public:
  std::string name() const override { return "add_positions"; }
  bool in_place() const override { return true; }
  bool gradient_reads(std::size_t) const override { return false; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BTD");
    expect_axes(*this, in, 1, "DD");
    expect_extent(*this, "features of a position", in[0].shape[2], in[1].shape[1]);
    if (in[0].shape[1] > in[1].shape[0]) {
      throw InputError(fmt::format("add_positions: expected at most {} positions, got {}",
                                   in[1].shape[0], in[0].shape[1]));
    }
    return in[0];
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    over_rows<X>(out, [&](int64_t row, int64_t position, int64_t width) {
      for (int64_t d = 0; d < width; ++d) {
        out.data()[row + d] = in[0].data()[row + d] + in[1].data()[position + d];
      }
    });
  }

  void value_at(const Places& at, std::span<const Array> in, Array& out) const override {
    const int64_t width = out.shape()[2];
    for_rows(out.size() / width, width, [&](int64_t row) {
      const int64_t t = at.query[static_cast<std::size_t>(row)];
      const double* position = in[1].data() + std::max<int64_t>(t, 0) * width;
      for (int64_t d = 0; d < width; ++d) {
        out.data()[row * width + d] = in[0].data()[row * width + d] + position[d];
      }
    });
  }

  template <class A>
  void backward(std::span<const A>, const A& out, const A& grad_out, std::span<A> grad_in) const {
    using X = typename A::Element;
    if (!grad_in[0].absent()) {
      for_elements<X>(out.shape(), 1,
                      [&](int64_t i) { grad_in[0].data()[i] += grad_out.data()[i]; });
    }
    if (grad_in[1].absent()) return;
    const int64_t row = out.shape()[1] * out.shape()[2];  // rows of a batch share the positions
    for (int64_t i = 0; i < out.size(); ++i) grad_in[1].data()[i % row] += grad_out.data()[i];
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    unite_cellwise(in, out);
  }

  void error(const ErrorModel& model, std::span<const Array>, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    const double rounding = chain_error(model, 1);
    const int64_t plane = out.shape()[1] * out.shape()[2];  // rows of a batch share the positions
    for_elements(out.shape(), 1, [&](int64_t i) {
      ErrorSum total(model);
      total.add(error_at(in_error[0], i));
      total.add(error_at(in_error[1], i % plane));
      total.add(rounding * out.data()[i]);
      out_error.data()[i] = total.result();
    });
  }

  double flops(std::span<const Operand>, const Operand& out) const override {
    return count_of(out);
  }

 private:
  // body(offset of row (b,t) in [B,T,D], offset of position t in [P,D], D)
  template <class X, class A, class Body>
  static void over_rows(const A& out, Body&& body) {
    const int64_t positions = out.shape()[1], width = out.shape()[2];
    for_rows<X>(out.size() / width, width,
                [&](int64_t row) { body(row * width, row % positions * width, width); });
  }
};

}  // namespace

Node add_positions(Node x, Node weight) {
  return x.graph->add(std::make_shared<AddPositions>(), {x, weight});
}

}  // namespace assay::reference
