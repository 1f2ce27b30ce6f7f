// The gradient of a step: what the reference makes of weights and micro-batches, and how far an
// implementation may lie from it.
//
// With n_i counted positions in micro-batch i of mean loss L_i and N = sum n_i:
//   (1)  L = sum_i n_i L_i / N,  G = sum_i n_i grad L_i / N
// Deviations are those of verify/gradients/gradient_views.h. Errors of micro-batches may be alike:
// their deviations are added up as they are, and a rounding for each of the sums.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "reference/graph/graph.h"
#include "reference/interpreters/value.h"
#include "reference/numbers/array.h"
#include "reference/training/dropout.h"
#include "verify/subjects/training/training_subject.h"

namespace assay::verify {

struct StepGradient {
  double loss = 0, loss_deviation = 0;
  double norm = 0, norm_deviation = 0;  // of all gradients
  int64_t elements = 0;                 // of all gradients
  // By weight; of one that the loss does not depend on 0, and exact. Deviations may be infinite.
  std::map<std::string, reference::Array> values, deviations;
};

// Where micro-batches stand in a run, for the masks of dropout.
struct MaskPlace {
  int64_t step = 1;       // from 1
  int64_t first_row = 0;  // of the step's rows: the first one of the first micro-batch
  bool is_scaled = true;  // else what is kept is not divided by 1 - p
};

class GradientSource {
 public:
  // Deviations of a weight beside those that its type makes; absent: none.
  using WeightDeviation = std::function<reference::Array(const std::string& name)>;

  // reach: how many deviations a bound spans.
  // Throws InputError for dropout of a method that has none.
  GradientSource(const golden::ModelConfig& config, const TrainingArithmetic& arithmetic,
                 double reach, const reference::Dropout& dropout = {});

  // weights: the masters; what is computed with are these rounded to the storage type.
  // sampled: widened to what errors that are alike give (verify/gradients/gradient_noise.h).
  StepGradient of(const Tensors& weights, const std::vector<Batch>& micro_batches,
                  const MaskPlace& place, const WeightDeviation& deviation = {},
                  bool sampled = false) const;

  // All weights, from the loss backwards.
  std::vector<std::string> backward_order(const Batch& batch) const;

 private:
  const reference::Graph& graph_of(const Batch& batch) const;
  reference::Bindings bindings(const Batch& batch, const golden::WeightSource& weights,
                               const MaskPlace& place) const;

  golden::ModelConfig config_;
  TrainingArithmetic arithmetic_;
  double reach_;
  reference::Dropout dropout_;
  mutable std::map<golden::Shape, std::unique_ptr<reference::Graph>> graphs_;  // by [B,T]
};

}  // namespace assay::verify
