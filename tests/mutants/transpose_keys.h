// y[b,h,t,s] = x[b,h,s,t]: the operation that a correct model never needs.
#pragma once

#include "reference/graph/op.h"
#include "reference/ops/rules.h"

namespace assay::mutants {

class TransposeKeys : public reference::Computed<TransposeKeys> {
 public:
  std::string name() const override { return "transpose_keys"; }

  reference::Operand result(std::span<const reference::Operand> in) const override {
    reference::expect_axes(*this, in, 0, "BHTS");
    return in[0];
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    for_pairs(out.shape(), [&](int64_t i, int64_t j) { out.data()[i] = in[0].data()[j]; });
  }

  void gradient(std::span<const reference::Array>, const reference::Array& out,
                const reference::Array& grad_out,
                std::span<reference::Array> grad_in) const override {
    for_pairs(out.shape(),
              [&](int64_t i, int64_t j) { grad_in[0].data()[j] += grad_out.data()[i]; });
  }

  void dependence(std::span<const reference::Relation> in,
                  reference::Relation& out) const override {
    for_pairs(out.cell_shape(), [&](int64_t i, int64_t j) {
      out.unite(i, in[0], j);
      out.set_kind(i, in[0].kind(j));
    });
  }

  void error(const reference::ErrorModel&, std::span<const reference::Array>,
             std::span<const reference::Array> in_error, const reference::Array& out,
             reference::Array& out_error) const override {
    for_pairs(out.shape(), [&](int64_t i, int64_t j) {
      out_error.data()[i] = reference::error_at(in_error[0], j);
    });
  }

  double flops(std::span<const reference::Operand>, const reference::Operand&) const override {
    return 0;
  }

 private:
  // body(index of (t,s), index of (s,t)) in every plane
  template <class Body>
  static void for_pairs(const golden::Shape& shape, Body&& body) {
    const int64_t n = shape[3];
    for (int64_t plane = 0; plane < shape[0] * shape[1]; ++plane) {
      for (int64_t t = 0; t < n; ++t) {
        for (int64_t s = 0; s < n; ++s) body((plane * n + t) * n + s, (plane * n + s) * n + t);
      }
    }
  }
};

}  // namespace assay::mutants
