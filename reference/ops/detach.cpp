#include "reference/ops/detach.h"

#include <type_traits>

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

class Detach final : public Differentiated<Detach> {
 public:
  std::string name() const override { return "detach"; }
  bool in_place() const override { return true; }
  bool gradient_reads(std::size_t) const override { return false; }

  Operand result(std::span<const Operand> in) const override { return in[0]; }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    for_elements<X>(out.shape(), 1, [&](int64_t i) {
      if constexpr (std::is_same_v<X, Dual>) {
        out.data()[i] = Dual(in[0].data()[i].value);
      } else {
        out.data()[i] = in[0].data()[i];
      }
    });
  }

  template <class A>
  void backward(std::span<const A>, const A&, const A&, std::span<A>) const {
  }  // zero, by definition

  void dependence(std::span<const Relation> in, Relation& out) const override {
    unite_cellwise(in, out);
    for (int64_t cell = 0; cell < out.cells(); ++cell) out.set_kind(cell, in[0].kind(cell));
  }

  void error(const ErrorModel&, std::span<const Array>, std::span<const Array> in_error,
             const Array&, Array& out_error) const override {
    for_elements(out_error.shape(), 1,
                 [&](int64_t i) { out_error.data()[i] = error_at(in_error[0], i); });
  }

  double flops(std::span<const Operand>, const Operand&) const override { return 0; }
};

}  // namespace

Node detach(Node x) { return x.graph->add(std::make_shared<Detach>(), {x}); }

}  // namespace assay::reference
