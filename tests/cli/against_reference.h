// What the reference computes, kept by name, and how far an engine's tensor is from it.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "golden/contract/tensor.h"
#include "reference/interpreters/gradient.h"
#include "reference/interpreters/value.h"

namespace assay::engine_test {

struct Keep : reference::Observer {
  reference::Array observe(const reference::NodeData& node, reference::Array value) override {
    values[node.name] = value;
    return value;
  }
  std::map<std::string, reference::Array> values;
};

struct KeepGradients : reference::GradientObserver {
  void observe_gradient(const reference::NodeData& node, const reference::Array& value) override {
    values[node.name] = value;
  }
  std::map<std::string, reference::Array> values;
};

// max |a - b| / max |b| with -inf equal to -inf only.
inline double relative_difference(const golden::Tensor& a, const reference::Array& b) {
  double difference = 0, largest = 0;
  for (int64_t i = 0; i < b.size(); ++i) {
    const double x = a.values[static_cast<std::size_t>(i)], y = b.data()[i];
    if (std::isinf(y) && x == y) continue;
    if (!(std::fabs(x - y) <= difference)) difference = std::fabs(x - y);  // NaN is kept
    if (std::isfinite(y)) largest = std::max(largest, std::fabs(y));
  }
  return largest == 0 ? difference : difference / largest;
}

}  // namespace assay::engine_test
