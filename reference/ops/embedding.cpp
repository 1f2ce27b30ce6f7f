#include "reference/ops/embedding.h"

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

class Embedding final : public Differentiated<Embedding> {
 public:
  std::string name() const override { return "embedding"; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BT");
    expect_axes(*this, in, 1, "DD");
    return {{in[0].shape[0], in[0].shape[1], in[1].shape[1]}, "BTD"};
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    const int64_t width = in[1].shape()[1];
    for (int64_t row = 0; row < in[0].size(); ++row) {
      const auto* from = in[1].data() + token(in, row) * width;
      std::copy(from, from + width, out.data() + row * width);
    }
  }

  template <class A>
  void backward(std::span<const A> in, const A&, const A& grad_out, std::span<A> grad_in) const {
    if (!grad_in[0].absent()) throw NotDifferentiable("embedding: tokens are whole numbers");
    if (grad_in[1].absent()) return;
    const int64_t width = in[1].shape()[1];
    for (int64_t row = 0; row < in[0].size(); ++row) {
      auto* to = grad_in[1].data() + token(in, row) * width;
      for (int64_t d = 0; d < width; ++d) to[d] += grad_out.data()[row * width + d];
    }
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    unite_cellwise(in, out);
  }

  void error(const ErrorModel&, std::span<const Array> in, std::span<const Array> in_error,
             const Array&, Array& out_error) const override {
    ASSAY_CHECK(in_error[0].absent(), "tokens are exact");
    std::fill(out_error.values().begin(), out_error.values().end(), 0.0);
    if (in_error[1].absent()) return;
    const int64_t width = in[1].shape()[1];
    for (int64_t row = 0; row < in[0].size(); ++row) {
      const double* from = in_error[1].data() + token(in, row) * width;
      std::copy(from, from + width, out_error.data() + row * width);
    }
  }

  double flops(std::span<const Operand>, const Operand&) const override { return 0; }

 private:
  template <class A>
  static int64_t token(std::span<const A> in, int64_t row) {
    const double id = to_double(in[0].data()[row]);
    const int64_t vocab = in[1].shape()[0];
    if (!(id >= 0 && id < static_cast<double>(vocab)) || id != std::floor(id)) {
      throw InputError("embedding: token " + std::to_string(id) + " at position " +
                       std::to_string(row) + ": expected 0 .. " + std::to_string(vocab - 1));
    }
    return static_cast<int64_t>(id);
  }
};

}  // namespace

Node embedding(Node tokens, Node weight) {
  return tokens.graph->add(std::make_shared<Embedding>(), {tokens, weight});
}

}  // namespace assay::reference
