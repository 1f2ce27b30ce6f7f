// What `assay bench` measures: a model of the reference with everything it reads, ready to run.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "cli/model_options.h"
#include "reference/graph/graph.h"
#include "reference/numbers/array.h"

namespace assay::cli {

struct Measured {
  double seconds = 0;         // median of the runs, after one that is not counted
  double gflop = 0;           // of the products, attention with all T x T of them
  int64_t live_bytes = 0;     // most at any moment in tensors, weights included
  int64_t process_bytes = 0;  // most at any moment in the process
};

double median_seconds(int runs, const std::function<void()>& work);

class Workload {
 public:
  // Weights and tokens drawn from the options' seed.
  explicit Workload(const ModelOptions& options, const golden::ModelConfig& config);

  Measured forward(int runs) const;
  Measured forward_and_backward(int runs) const;

 private:
  Measured measure(int runs, double gflop, const std::function<void()>& pass) const;
  reference::Array input(const reference::NodeData& node) const { return inputs_.at(node.name); }

  std::unique_ptr<reference::Graph> graph_;
  std::unordered_map<std::string, reference::Array> inputs_;
};

}  // namespace assay::cli
