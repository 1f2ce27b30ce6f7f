// y[b,h,t,s] = x[b,h,t,s] + (s > t ? c : 0): a mask as a finite number inside the arithmetic.
#pragma once

#include <algorithm>

#include "reference/graph/op.h"
#include "reference/ops/rules.h"

namespace assay::mutants {

class FiniteMask : public reference::Computed<FiniteMask> {
 public:
  explicit FiniteMask(double value) : value_(value) {}
  std::string name() const override { return "finite_mask"; }

  reference::Operand result(std::span<const reference::Operand> in) const override {
    reference::expect_axes(*this, in, 0, "BHTS");
    return in[0];
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    const int64_t n = out.shape()[3];
    for (int64_t i = 0; i < out.size(); ++i) {
      out.data()[i] = in[0].data()[i] + X(i % n > i / n % n ? value_ : 0.0);
    }
  }

  void gradient(std::span<const reference::Array>, const reference::Array&,
                const reference::Array& grad_out,
                std::span<reference::Array> grad_in) const override {
    for (int64_t i = 0; i < grad_out.size(); ++i) grad_in[0].data()[i] += grad_out.data()[i];
  }

  void dependence(std::span<const reference::Relation> in,
                  reference::Relation& out) const override {
    reference::unite_cellwise(in, out);
  }

  void error(const reference::ErrorModel& model, std::span<const reference::Array>,
             std::span<const reference::Array> in_error, const reference::Array& out,
             reference::Array& out_error) const override {
    for (int64_t i = 0; i < out.size(); ++i) {
      out_error.data()[i] = reference::error_at(in_error[0], i) +
                            reference::chain_error(model, 1) * std::fabs(out.data()[i]);
    }
  }

  double flops(std::span<const reference::Operand>, const reference::Operand& out) const override {
    return reference::count_of(out);
  }

 private:
  double value_;
};

}  // namespace assay::mutants
