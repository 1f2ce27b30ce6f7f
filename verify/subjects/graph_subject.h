// A reference graph as a subject: the harness's own control, which must pass, and the carrier of
// planted defects, which must not. Named tensors are rounded to the schedule's storage type; what
// lies between two of them is computed in double.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "golden/contract/config.h"
#include "golden/contract/weights.h"
#include "reference/graph/graph.h"
#include "reference/interpreters/segments.h"
#include "reference/numbers/array.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

class GraphSubject : public Subject {
 public:
  using Build = std::function<std::unique_ptr<reference::Graph>(const golden::ModelConfig& config,
                                                                int64_t batch, int64_t positions)>;

  // It computes with the weights as they are given. A reference to them must outlive the subject.
  GraphSubject(std::string description, Build build, golden::ModelConfig config,
               const golden::WeightSource& weights, golden::PrecisionSchedule schedule);
  GraphSubject(std::string description, Build build, golden::ModelConfig config,
               std::shared_ptr<const golden::WeightSource> weights,
               golden::PrecisionSchedule schedule);

  std::string describe() const override;
  Capabilities capabilities() const override {
    return {.can_run = true, .can_force = true, .can_grad = true};
  }
  golden::PrecisionSchedule precision() const override { return schedule_; }
  golden::DType dtype_of(const std::string& tensor_name) const override;
  std::unique_ptr<Subject> another() const override {
    return std::make_unique<GraphSubject>(*this);
  }
  void run(const Batch& batch, const Forced& forced, const Receive& receive) override;
  // Of every named tensor and weight. Those of tensors are rounded to the storage type too, those
  // of weights to the accumulator type.
  void run_gradients(const Batch& batch, const Receive& receive) override;

 protected:
  // A value as it is handed over, and read by what follows.
  reference::Array rounded(const std::string& name, const reference::Array& value) const;
  const golden::ModelConfig& config() const { return config_; }
  const golden::WeightSource& weights() const { return *weights_; }
  // What run_gradients keeps of a forward pass.
  void keep(reference::Keep keep) { keep_ = keep; }

 private:
  std::string description_;
  Build build_;
  golden::ModelConfig config_;
  std::shared_ptr<const golden::WeightSource> weights_;
  golden::PrecisionSchedule schedule_;
  reference::Keep keep_ = reference::Keep::all;
};

}  // namespace assay::verify
