#include "reference/ops/attend.h"

#include "reference/ops/multiply.h"

namespace assay::reference {
namespace {

class Attend final : public Differentiated<Attend> {
 public:
  explicit Attend(bool back) : back_(back) {}
  std::string name() const override { return back_ ? "attend_back" : "attend"; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BHTS");
    expect_axes(*this, in, 1, back_ ? "BHTD" : "BGTD");
    expect_extent(*this, "query heads beyond whole groups", 0, in[0].shape[1] % in[1].shape[1]);
    const std::size_t from = back_ ? 2 : 3;  // the axis of p that is summed over
    expect_extent(*this, back_ ? "positions of q" : "positions of v", in[0].shape[from],
                  in[1].shape[2]);
    return {{in[0].shape[0], in[0].shape[5 - from], in[0].shape[1] * in[1].shape[3]}, "BTD"};
  }

  // Back, a row hears later ones.
  bool streams() const override { return !back_; }
  bool reads_keys(std::size_t operand, std::size_t) const override { return operand == 1; }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    std::vector<ProductOf<X>> products;
    for (int64_t head = 0; head < heads(in); ++head) {
      products.push_back(
          {context(in, out, head), weights(in[0], head), plane_of(in[1], value_head(in, head))});
    }
    multiply_all(std::span<const ProductOf<X>>(products));
  }

  template <class A>
  void backward(std::span<const A> in, const A&, const A& grad_out, std::span<A> grad_in) const {
    using X = typename A::Element;
    for (int64_t head = 0; head < heads(in);
         ++head) {  // a value head is shared: one after the other
      const ConstMatrixOf<X> dc = context(in, grad_out, head);
      if (!grad_in[0].absent()) {  // dP += dC V^T, back: Q dC^T
        const ConstMatrixOf<X> v = plane_of(in[1], value_head(in, head));
        multiply(plane_of(grad_in[0], head), back_ ? v : dc, (back_ ? dc : v).transposed(), true);
      }
      if (!grad_in[1].absent()) {  // dV += P^T dC, back: P dC
        multiply(plane_of(grad_in[1], value_head(in, head)), weights(in[0], head).transposed(), dc,
                 true);
      }
    }
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    const int64_t query_heads = in[0].cell_shape()[1], queries = in[0].cell_shape()[2];
    const int64_t keys = in[0].cell_shape()[3], group = query_heads / in[1].cell_shape()[1];
    for (int64_t row = 0; row < in[0].cells() / keys; ++row) {  // row = (b*H + h)*T + t
      const int64_t head = row / queries, b = head / query_heads, t = row % queries;
      for (int64_t s = 0; s < keys; ++s) {
        if (in[0].kind(row * keys + s) == Relation::Cell::zero) continue;
        const int64_t to = back_ ? b * keys + s : b * queries + t;
        out.unite(to, in[0], row * keys + s);
        out.unite(to, in[1], head / group * (back_ ? queries : keys) + (back_ ? t : s));
      }
    }
  }

  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    for (int64_t head = 0; head < heads(in); ++head) {
      const int64_t value = value_head(in, head);
      product_error(model, weights(in[0], head),
                    in_error[0].absent() ? ConstMatrix{} : weights(in_error[0], head),
                    plane_of(in[1], value),
                    in_error[1].absent() ? ConstMatrix{} : plane_of(in_error[1], value),
                    context(in, out, head), context(in, out_error, head));
    }
  }

  double flops(std::span<const Operand> in, const Operand&) const override {
    return 2 * count_of(in[0]) * static_cast<double>(in[1].shape[3]);
  }

 private:
  // P of a head, back: its transpose.
  template <class A>
  ConstMatrixOf<typename A::Element> weights(const A& probs, int64_t head) const {
    return back_ ? plane_of(probs, head).transposed() : plane_of(probs, head);
  }
  template <class A>
  static int64_t heads(std::span<const A> in) {
    return in[0].shape()[0] * in[0].shape()[1];
  }
  template <class A>
  static int64_t value_head(std::span<const A> in, int64_t head) {
    return head / (in[0].shape()[1] / in[1].shape()[1]);
  }
  // The columns of head h in the rows of batch b: [T,Dh] with row stride H*Dh.
  template <class A>
  static int64_t context_offset(std::span<const A> in, int64_t positions, int64_t head) {
    const int64_t query_heads = in[0].shape()[1], size = in[1].shape()[3];
    return (head / query_heads * positions * query_heads + head % query_heads) * size;
  }
  template <class A>
  static MatrixOf<typename A::Element> context(std::span<const A> in, A& x, int64_t head) {
    const int64_t positions = x.shape()[1];
    return {x.data() + context_offset(in, positions, head), positions, in[1].shape()[3],
            x.shape()[2]};
  }
  template <class A>
  static ConstMatrixOf<typename A::Element> context(std::span<const A> in, const A& x,
                                                    int64_t head) {
    const int64_t positions = x.shape()[1];
    return {x.data() + context_offset(in, positions, head), positions, in[1].shape()[3],
            x.shape()[2], 1};
  }

  bool back_;
};

}  // namespace

Node attend(Node probs, Node v) {
  return probs.graph->add(std::make_shared<Attend>(false), {probs, v});
}

Node attend_back(Node probs, Node q) {
  return probs.graph->add(std::make_shared<Attend>(true), {probs, q});
}

}  // namespace assay::reference
