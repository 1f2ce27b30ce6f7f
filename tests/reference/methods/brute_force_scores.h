// What the scores of a method are multiplied with, straight from docs/methods.md's table.
#pragma once

#include "tests/reference/models.h"

namespace assay::reference::testing {

class ScoreRule {
 public:
  // normed: attn_norm_l(X_l) [B,T,D]; prefix: of the layer's weights, "model.layers.2."
  ScoreRule(const ModelConfig& config, const Tensors& weights, const std::string& prefix,
            int64_t layer, const Tensor& normed);

  // What enters the softmax is the sum over i <= l of factor(i, b, t, s) S_i[b,h,t,s], plus
  // offset(t).
  double factor(int64_t i, int64_t b, int64_t t, int64_t s) const;
  double offset(int64_t t) const;

 private:
  double coefficient(int64_t i) const;  // methods 5.1 to 5.8
  double gate(int64_t b, int64_t t, int64_t output) const;
  double number(const std::string& name, int64_t i = 0) const;  // of the layer's score parameters

  const ModelConfig& c_;
  const Tensors& weights_;
  const std::string prefix_, form_;
  const int64_t layer_;
  const Tensor& normed_;
};

}  // namespace assay::reference::testing
