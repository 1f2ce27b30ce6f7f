#include "reference/ops/add.h"

#include <cmath>

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

class Add final : public Differentiated<Add> {
 public:
  std::string name() const override { return "add"; }
  bool in_place() const override { return true; }
  bool gradient_reads(std::size_t) const override { return false; }

  Operand result(std::span<const Operand> in) const override {
    for (const Operand& term : in) {
      if (term.shape != in[0].shape || term.axes != in[0].axes) {
        throw InputError("add: expected terms of one shape, got " +
                         golden::shape_text(in[0].shape) + " and " +
                         golden::shape_text(term.shape));
      }
    }
    return in[0];
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    over_chunks<X>(out.size(), [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) out.data()[i] = in[0].data()[i];
      for (std::size_t term = 1; term < in.size(); ++term) {
        for (int64_t i = first; i < last; ++i) out.data()[i] += in[term].data()[i];
      }
    });
  }

  template <class A>
  void backward(std::span<const A>, const A&, const A& grad_out, std::span<A> grad_in) const {
    using X = typename A::Element;
    for (A& grad : grad_in) {
      if (grad.absent()) continue;
      over_chunks<X>(grad.size(), [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) grad.data()[i] += grad_out.data()[i];
      });
    }
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    unite_cellwise(in, out);
    for (int64_t cell = 0; cell < out.cells(); ++cell) {
      bool zero = true, excluded = false;
      for (const Relation& term : in) {
        zero = zero && term.kind(cell) == Relation::Cell::zero;
        excluded = excluded || term.kind(cell) == Relation::Cell::excluded;
      }
      if (zero) out.set_kind(cell, Relation::Cell::zero);
      if (excluded) out.set_kind(cell, Relation::Cell::excluded);
    }
  }

  void error(const ErrorModel& model, std::span<const Array> in, std::span<const Array> in_error,
             const Array&, Array& out_error) const override {
    const double rounding = step_error(model, 1);
    over_chunks(out_error.size(), [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        ErrorSum total(model);
        double partial = 0;  // no partial sum is larger, in whatever order they are added
        for (std::size_t term = 0; term < in.size(); ++term) {
          total.add(error_at(in_error[term], i));
          const double x = in[term].data()[i];
          partial += in.size() == 2 ? x : std::abs(x);
        }
        for (std::size_t term = 1; term < in.size(); ++term) total.add(rounding * partial);
        out_error.data()[i] = total.result();
      }
    });
  }

  double flops(std::span<const Operand> in, const Operand& out) const override {
    return static_cast<double>(in.size() - 1) * count_of(out);
  }

 private:
  template <class X = double, class Body>
  static void over_chunks(int64_t size, Body&& body) {
    constexpr int64_t kChunk = 8192;
    for_rows<X>((size + kChunk - 1) / kChunk, kChunk,
                [&](int64_t chunk) { body(chunk * kChunk, std::min(size, (chunk + 1) * kChunk)); });
  }
};

}  // namespace

Node sum(const std::vector<Node>& terms) {
  ASSAY_CHECK(!terms.empty(), "sum of nothing");
  return terms[0].graph->add(std::make_shared<Add>(), terms);
}

Node operator+(Node a, Node b) { return sum({a, b}); }

}  // namespace assay::reference
