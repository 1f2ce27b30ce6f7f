#include "reference/ops/attend.h"

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

class Attend final : public Op {
 public:
  std::string name() const override { return "attend"; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BHTS");
    expect_axes(*this, in, 1, "BGTD");
    expect_extent(*this, "query heads beyond whole groups", 0, in[0].shape[1] % in[1].shape[1]);
    expect_extent(*this, "positions of v", in[0].shape[3], in[1].shape[2]);
    return {{in[0].shape[0], in[0].shape[2], in[0].shape[1] * in[1].shape[3]}, "BTD"};
  }

  void value(std::span<const Array> in, Array& out) const override {
    std::vector<Product> products;
    for (int64_t head = 0; head < heads(in); ++head) {
      products.push_back(
          {context(in, out, head), plane(in[0], head), plane(in[1], value_head(in, head))});
    }
    multiply_batch(products, false, products_engine());
  }

  void gradient(std::span<const Array> in, const Array&, const Array& grad_out,
                std::span<Array> grad_in) const override {
    for (int64_t head = 0; head < heads(in);
         ++head) {  // a value head is shared: one after the other
      const ConstMatrix dc = context(in, grad_out, head);
      if (!grad_in[0].absent()) {  // dP += dC V^T
        multiply(plane(grad_in[0], head), dc, plane(in[1], value_head(in, head)).transposed(), true,
                 products_engine());
      }
      if (!grad_in[1].absent()) {  // dV += P^T dC
        multiply(plane(grad_in[1], value_head(in, head)), plane(in[0], head).transposed(), dc, true,
                 products_engine());
      }
    }
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    const int64_t query_heads = in[0].cell_shape()[1], queries = in[0].cell_shape()[2];
    const int64_t keys = in[0].cell_shape()[3], group = query_heads / in[1].cell_shape()[1];
    for (int64_t row = 0; row < in[0].cells() / keys; ++row) {  // row = (b*H + h)*T + t
      const int64_t head = row / queries;
      const int64_t to = head / query_heads * queries + row % queries;
      for (int64_t s = 0; s < keys; ++s) {
        if (in[0].kind(row * keys + s) == Relation::Cell::zero) continue;
        out.unite(to, in[0], row * keys + s);
        out.unite(to, in[1], head / group * keys + s);
      }
    }
  }

  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    for (int64_t head = 0; head < heads(in); ++head) {
      const int64_t value = value_head(in, head);
      product_error(model, plane(in[0], head),
                    in_error[0].absent() ? ConstMatrix{} : plane(in_error[0], head),
                    plane(in[1], value),
                    in_error[1].absent() ? ConstMatrix{} : plane(in_error[1], value),
                    context(in, out, head), context(in, out_error, head));
    }
  }

 private:
  static int64_t heads(std::span<const Array> in) { return in[0].shape()[0] * in[0].shape()[1]; }
  static int64_t value_head(std::span<const Array> in, int64_t head) {
    return head / (in[0].shape()[1] / in[1].shape()[1]);
  }
  static ConstMatrix plane(const Array& x, int64_t head) {
    const int64_t rows = x.shape()[2], cols = x.shape()[3];
    return ConstMatrix::row_major(x.data() + head * rows * cols, rows, cols);
  }
  static Matrix plane(Array& x, int64_t head) {
    const int64_t rows = x.shape()[2], cols = x.shape()[3];
    return Matrix::row_major(x.data() + head * rows * cols, rows, cols);
  }
  // The columns of head h in the rows of batch b: [T,Dh] with row stride H*Dh.
  static int64_t context_offset(std::span<const Array> in, int64_t head) {
    const int64_t query_heads = in[0].shape()[1], queries = in[0].shape()[2],
                  size = in[1].shape()[3];
    return (head / query_heads * queries * query_heads + head % query_heads) * size;
  }
  static Matrix context(std::span<const Array> in, Array& x, int64_t head) {
    return {x.data() + context_offset(in, head), in[0].shape()[2], in[1].shape()[3], x.shape()[2]};
  }
  static ConstMatrix context(std::span<const Array> in, const Array& x, int64_t head) {
    return {x.data() + context_offset(in, head), in[0].shape()[2], in[1].shape()[3], x.shape()[2],
            1};
  }
};

}  // namespace

Node attend(Node probs, Node v) { return probs.graph->add(std::make_shared<Attend>(), {probs, v}); }

}  // namespace assay::reference
