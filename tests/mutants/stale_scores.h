// stale-scores: the running sum of scores survives into the next call. The first call is right;
// from the second one on, every layer starts from the sum that the call before has left.
#pragma once

#include "golden/contract/weights.h"
#include "verify/subjects/subject.h"

namespace assay::mutants {

class StaleScores : public verify::Subject {
 public:
  // config.method must be "5.1"; weights must outlive the subject.
  StaleScores(golden::ModelConfig config, const golden::WeightSource& weights)
      : config_(std::move(config)), weights_(weights) {}

  std::string describe() const override { return "method 5.1 whose running sum is never cleared"; }
  verify::Capabilities capabilities() const override {
    return {.can_run = true, .can_force = true};
  }
  golden::PrecisionSchedule precision() const override {
    return {.storage = golden::Precision::fp64, .accumulate = golden::Precision::fp64};
  }
  golden::DType dtype_of(const std::string&) const override { return golden::DType::float64; }
  void run(const verify::Batch& batch, const verify::Forced& forced,
           const verify::Receive& receive) override;

 private:
  golden::ModelConfig config_;
  const golden::WeightSource& weights_;
  golden::Tensor left_over_;  // the last layer's scaled sum [B,H,T,T], empty before the first call
};

}  // namespace assay::mutants
