#include "reference/ops/scores.h"

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

class Scores final : public Op {
 public:
  std::string name() const override { return "attention_scores"; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BHTD");
    expect_axes(*this, in, 1, "BGTD");
    expect_extent(*this, "query heads beyond whole groups", 0, in[0].shape[1] % in[1].shape[1]);
    expect_extent(*this, "head size of k", in[0].shape[3], in[1].shape[3]);
    return {{in[0].shape[0], in[0].shape[1], in[0].shape[2], in[1].shape[2]}, "BHTS"};
  }

  void value(std::span<const Array> in, Array& out) const override {
    std::vector<Product> products;
    for (int64_t head = 0; head < heads(in[0]); ++head) {
      products.push_back(
          {plane(out, head), plane(in[0], head), plane(in[1], key_head(in, head)).transposed()});
    }
    multiply_batch(products, false, products_engine());
  }

  void gradient(std::span<const Array> in, const Array&, const Array& grad_out,
                std::span<Array> grad_in) const override {
    for (int64_t head = 0; head < heads(in[0]);
         ++head) {  // a key head is shared: one after the other
      const ConstMatrix ds = plane(grad_out, head);
      if (!grad_in[0].absent()) {  // dQ += dS K
        multiply(plane(grad_in[0], head), ds, plane(in[1], key_head(in, head)), true,
                 products_engine());
      }
      if (!grad_in[1].absent()) {  // dK += dS^T Q
        multiply(plane(grad_in[1], key_head(in, head)), ds.transposed(), plane(in[0], head), true,
                 products_engine());
      }
    }
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    const int64_t queries = out.cell_shape()[2], keys = out.cell_shape()[3];
    const int64_t group = out.cell_shape()[1] / in[1].cell_shape()[1];
    for (int64_t row = 0; row < out.cells() / keys; ++row) {  // row = (b*H + h)*T + t
      const int64_t key_plane = row / queries / group;
      for (int64_t s = 0; s < keys; ++s) {
        out.unite(row * keys + s, in[0], row);
        out.unite(row * keys + s, in[1], key_plane * keys + s);
      }
    }
  }

  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    for (int64_t head = 0; head < heads(in[0]); ++head) {
      const int64_t key = key_head(in, head);
      const ConstMatrix k_error = in_error[1].absent() ? ConstMatrix{} : plane(in_error[1], key);
      product_error(model, plane(in[0], head),
                    in_error[0].absent() ? ConstMatrix{} : plane(in_error[0], head),
                    plane(in[1], key).transposed(), k_error.transposed(), plane(out, head),
                    plane(out_error, head));
    }
  }

 private:
  // Planes are numbered b*H + h; B*H of them.
  static int64_t heads(const Array& x) { return x.shape()[0] * x.shape()[1]; }
  // (b*H + h) / (H/Hkv) = b*Hkv + floor(h / (H/Hkv)), because H/Hkv divides H.
  static int64_t key_head(std::span<const Array> in, int64_t head) {
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
};

}  // namespace

Node attention_scores(Node q, Node k) { return q.graph->add(std::make_shared<Scores>(), {q, k}); }

}  // namespace assay::reference
