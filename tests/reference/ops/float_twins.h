// The operations once more, as a float kernel without any care would compute them: what a bound for
// float arithmetic has to cover.
#pragma once

#include <functional>
#include <vector>

#include "golden/contract/tensor.h"
#include "reference/ops/gelu.h"
#include "reference/ops/linear.h"

namespace assay::reference::testing {

struct FloatTensor {
  golden::Shape shape;
  std::vector<float> values;
};

using FloatTwin = std::function<std::vector<float>(const std::vector<FloatTensor>& operands)>;

std::vector<float> float_add(const std::vector<FloatTensor>& in);
std::vector<float> float_add_positions(const std::vector<FloatTensor>& in);
std::vector<float> float_attend(const std::vector<FloatTensor>& in);
std::vector<float> float_attend_back(const std::vector<FloatTensor>& in);
std::vector<float> float_query_bias(const std::vector<FloatTensor>& in);
std::vector<float> float_cross_entropy(const std::vector<FloatTensor>& in);
FloatTwin float_gelu(Gelu form);
FloatTwin float_layer_norm(double eps);
std::vector<float> float_linear(const std::vector<FloatTensor>& in);
std::vector<float> float_linear_back(const std::vector<FloatTensor>& in);
FloatTwin float_linear_with_bias(WeightLayout layout, Columns columns);
// Of windows that hold every key.
std::vector<float> float_window_strengths(const std::vector<FloatTensor>& in);
FloatTwin float_exponential(double factor, double shift);
std::vector<float> float_linear(const std::vector<FloatTensor>& in);
std::vector<float> float_linear_back(const std::vector<FloatTensor>& in);
FloatTwin float_reciprocal(double numerator);
FloatTwin float_rms_norm(double eps);
FloatTwin float_rope(double theta);
FloatTwin float_scale(double factor);
std::vector<float> float_scores(const std::vector<FloatTensor>& in);
std::vector<float> float_softmax(const std::vector<FloatTensor>& in);
std::vector<float> float_swiglu(const std::vector<FloatTensor>& in);
std::vector<float> float_times(const std::vector<FloatTensor>& in);
std::vector<float> float_weighted_sum(const std::vector<FloatTensor>& in);  // Factor::term

}  // namespace assay::reference::testing
