// Our own implementation as a subject, on either back end.
#pragma once

#include <memory>
#include <string>

#include "cuda_impl/engine/interface/model.h"
#include "verify/subjects/subject.h"

namespace assay::cli {

// What the engine reads of a batch; it points into it.
cuda::Batch engine_batch(const verify::Batch& batch);

class EngineSubject : public verify::Subject {
 public:
  // backend: "simt" or "cuda", for describe().
  // options: those that the model was made with.
  EngineSubject(std::string backend, std::shared_ptr<cuda::Model> model,
                const cuda::ModelOptions& options = {});

  std::string describe() const override;
  verify::Capabilities capabilities() const override {
    return {.can_run = true, .can_force = true};
  }
  golden::PrecisionSchedule precision() const override { return model_->precision(); }
  bool computes(const std::string& tensor_name) const override;
  golden::DType dtype_of(const std::string& tensor_name) const override;
  void run(const verify::Batch& batch, const verify::Forced& forced,
           const verify::Receive& receive) override;

 private:
  std::string backend_;
  std::shared_ptr<cuda::Model> model_;
  cuda::ModelOptions options_;
};

}  // namespace assay::cli
