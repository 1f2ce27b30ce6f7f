// A query that sees no key, as the padding on the left of a row has: what a softmax over nothing
// is, is not defined. Assay has 0 there; Hugging Face's eager attention lets such a query see every
// key alike. No real position reads what is computed there, but the loss may count a prediction.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "reference/graph/graph.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

class UndefinedPositions {
 public:
  UndefinedPositions() = default;  // none
  // Those of causal attention: padding before the first real key of a row.
  UndefinedPositions(const reference::Graph& graph, const Batch& batch);

  int64_t count() const { return count_; }              // positions
  int64_t predictions() const { return predictions_; }  // made there, that the loss counts

  // Which elements of a tensor are computed from what such a query sees; empty: none.
  std::function<bool(int64_t element)> in(const reference::NodeData& node) const;

  // Whether it is a loss that counts predictions made there.
  bool is_loss_of_them(const std::string& name) const;

 private:
  std::vector<uint8_t> undefined_;  // [B,T]
  int64_t positions_ = 0, count_ = 0, predictions_ = 0;
  std::set<std::string> concerned_;  // named tensors after masked scores, those included
};

}  // namespace assay::verify
