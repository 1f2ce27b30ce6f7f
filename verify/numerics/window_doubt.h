// Dynamic windows in the two views. A size that lies within rounding of a whole number may be the
// next one in a correct implementation, and whether a key at the edge is seen follows from that.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "reference/numbers/array.h"
#include "reference/ops/dynamic_mask.h"

namespace assay::verify {

// Scores of keys that a query's dynamic window may hold or not, as far as roundings go.
inline std::function<bool(int64_t)> unsure_keys(const reference::NodeData& node,
                                                const reference::Array& error) {
  if (node.op == nullptr || reference::window_range_of(*node.op) == nullptr) return nullptr;
  return [error](int64_t i) { return error.data()[i] == std::numeric_limits<double>::infinity(); };
}

inline std::string unsure_text(const std::function<bool(int64_t)>& unsure, int64_t elements) {
  int64_t count = 0;
  for (int64_t i = 0; unsure && i < elements; ++i) count += unsure(i);
  if (count == 0) return "";
  return fmt::format(
      "whether {} keys lie within their query's window hangs on a rounding: they are not compared",
      count);
}

// Where later nodes start from golden windows, how far the candidate's lie from them.
inline reference::Array window_difference(const reference::Array& golden,
                                          const reference::Array& candidate, double reach) {
  reference::Array error = reference::Array::zeros(golden.shape());
  for (int64_t i = 0; i < error.size(); ++i) {
    const double moved = std::fabs(golden.data()[i] - candidate.data()[i]);
    error.data()[i] = moved == 0 ? 0 : moved / reach;
  }
  return error;
}

}  // namespace assay::verify
