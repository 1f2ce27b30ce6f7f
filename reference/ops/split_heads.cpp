#include "reference/ops/split_heads.h"

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

class SplitHeads final : public Differentiated<SplitHeads> {
 public:
  SplitHeads(int64_t heads, char axis) : heads_(heads), axis_(axis) {}
  std::string name() const override { return "split_heads"; }
  bool gradient_reads(std::size_t) const override { return false; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BTD");
    expect_extent(*this, "features beyond whole heads", 0, in[0].shape[2] % heads_);
    return {{in[0].shape[0], heads_, in[0].shape[1], in[0].shape[2] / heads_},
            std::string("B") + axis_ + "TD"};
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    for_heads(out, [&](int64_t flat, int64_t split, int64_t size) {
      std::copy(in[0].data() + flat, in[0].data() + flat + size, out.data() + split);
    });
  }

  template <class A>
  void backward(std::span<const A>, const A& out, const A& grad_out, std::span<A> grad_in) const {
    if (grad_in[0].absent()) return;
    for_heads(out, [&](int64_t flat, int64_t split, int64_t size) {
      for (int64_t d = 0; d < size; ++d) grad_in[0].data()[flat + d] += grad_out.data()[split + d];
    });
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    const int64_t batch = out.cell_shape()[0], positions = out.cell_shape()[2];
    for (int64_t b = 0; b < batch; ++b) {
      for (int64_t h = 0; h < heads_; ++h) {
        for (int64_t t = 0; t < positions; ++t) {
          out.unite((b * heads_ + h) * positions + t, in[0], b * positions + t);
        }
      }
    }
  }

  void error(const ErrorModel&, std::span<const Array>, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    for_heads(out, [&](int64_t flat, int64_t split, int64_t size) {
      for (int64_t d = 0; d < size; ++d) {
        out_error.data()[split + d] = error_at(in_error[0], flat + d);
      }
    });
  }

  double flops(std::span<const Operand>, const Operand&) const override { return 0; }

 private:
  // body(offset in [B,T,n*Dh], offset in [B,n,T,Dh], Dh) for every head of every position
  template <class A, class Body>
  static void for_heads(const A& out, Body&& body) {
    const int64_t heads = out.shape()[1], positions = out.shape()[2], size = out.shape()[3];
    for_rows(out.shape()[0] * positions, heads * size, [&](int64_t row) {
      const int64_t b = row / positions, t = row % positions;
      for (int64_t h = 0; h < heads; ++h) {
        body((row * heads + h) * size, ((b * heads + h) * positions + t) * size, size);
      }
    });
  }

  int64_t heads_;
  char axis_;
};

}  // namespace

Node split_heads(Node x, int64_t heads, char axis) {
  return x.graph->add(std::make_shared<SplitHeads>(heads, axis), {x});
}

}  // namespace assay::reference
