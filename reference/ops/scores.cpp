#include "reference/ops/scores.h"

#include "reference/ops/multiply.h"

namespace assay::reference {
namespace {

class Scores final : public Differentiated<Scores> {
 public:
  std::string name() const override { return "attention_scores"; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BHTD");
    expect_axes(*this, in, 1, "BGTD");
    expect_extent(*this, "query heads beyond whole groups", 0, in[0].shape[1] % in[1].shape[1]);
    expect_extent(*this, "head size of k", in[0].shape[3], in[1].shape[3]);
    return {{in[0].shape[0], in[0].shape[1], in[0].shape[2], in[1].shape[2]}, "BHTS"};
  }

  bool reads_keys(std::size_t operand, std::size_t) const override { return operand == 1; }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    std::vector<ProductOf<X>> products;
    for (int64_t head = 0; head < heads(in[0]); ++head) {
      products.push_back({plane_of(out, head), plane_of(in[0], head),
                          plane_of(in[1], key_head(in, head)).transposed()});
    }
    multiply_all(std::span<const ProductOf<X>>(products));
  }

  template <class A>
  void backward(std::span<const A> in, const A&, const A& grad_out, std::span<A> grad_in) const {
    using X = typename A::Element;
    for (int64_t head = 0; head < heads(in[0]);
         ++head) {  // a key head is shared: one after the other
      const ConstMatrixOf<X> ds = plane_of(grad_out, head);
      if (!grad_in[0].absent()) {  // dQ += dS K
        multiply(plane_of(grad_in[0], head), ds, plane_of(in[1], key_head(in, head)), true);
      }
      if (!grad_in[1].absent()) {  // dK += dS^T Q
        multiply(plane_of(grad_in[1], key_head(in, head)), ds.transposed(), plane_of(in[0], head),
                 true);
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
      const ConstMatrix k_error = in_error[1].absent() ? ConstMatrix{} : plane_of(in_error[1], key);
      product_error(model, plane_of(in[0], head),
                    in_error[0].absent() ? ConstMatrix{} : plane_of(in_error[0], head),
                    plane_of(in[1], key).transposed(), k_error.transposed(), plane_of(out, head),
                    plane_of(out_error, head));
    }
  }

  double flops(std::span<const Operand> in, const Operand& out) const override {
    return 2 * count_of(out) * static_cast<double>(in[0].shape[3]);
  }

 private:
  // Planes are numbered b*H + h; B*H of them.
  template <class A>
  static int64_t heads(const A& x) {
    return x.shape()[0] * x.shape()[1];
  }
  // (b*H + h) / (H/Hkv) = b*Hkv + floor(h / (H/Hkv)), because H/Hkv divides H.
  template <class A>
  static int64_t key_head(std::span<const A> in, int64_t head) {
    return head / (in[0].shape()[1] / in[1].shape()[1]);
  }
};

}  // namespace

Node attention_scores(Node q, Node k) { return q.graph->add(std::make_shared<Scores>(), {q, k}); }

}  // namespace assay::reference
