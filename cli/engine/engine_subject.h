// Our own implementation as a subject, on either back end.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cuda_impl/engine/interface/model.h"
#include "verify/subjects/subject.h"

namespace assay::cli {

// What the engine reads of a batch; it points into it.
cuda::Batch engine_batch(const verify::Batch& batch);

class EngineSubject : public verify::Subject {
 public:
  using MakeModel = std::function<std::shared_ptr<cuda::Model>(const cuda::ModelOptions&)>;

  // backend: "simt" or "cuda", for describe().
  // options: those that the model was made with.
  // make: makes the model once more, with these options; empty where that cannot be done.
  EngineSubject(std::string backend, std::shared_ptr<cuda::Model> model,
                const cuda::ModelOptions& options = {}, MakeModel make = {});

  std::string describe() const override;
  verify::Capabilities capabilities() const override {
    return {.can_run = true,
            .can_force = true,
            .can_grad = true,
            .can_run_untapped = true,
            .can_decode = true,
            .decodes_ragged = true,
            // A cache rebuilds probabilities, and parts of keys add up in another order.
            .decodes_same_bits = options_.stored_bytes == 0 && options_.key_span == 0,
            .reads_mask = true};
  }
  golden::PrecisionSchedule precision() const override { return model_->precision(); }
  // Its gradients with less of a forward pass kept, of a subject that keeps all.
  std::vector<verify::Checkpointed> checkpointed() const override;
  bool computes(const std::string& tensor_name) const override;
  golden::DType dtype_of(const std::string& tensor_name) const override;
  void run(const verify::Batch& batch, const verify::Forced& forced,
           const verify::Receive& receive) override;
  // Of the weights.
  void run_gradients(const verify::Batch& batch, const verify::Receive& receive) override;
  golden::Tensor run_untapped(const verify::Batch& batch, verify::Result result) override;
  std::unique_ptr<verify::Subject> another() const override;
  // A ring, where every layer has a window and it is shorter; blocks, of a subject without.
  std::vector<verify::Cache> caches(int64_t positions) const override;
  void use_cache(const std::string& name) override { cache_ = name; }
  void reset(int64_t rows, int64_t positions) override;
  void decode(const verify::Batch& tokens, const verify::Receive& receive) override;
  void decode_rows(const verify::Batch& tokens, std::span<const int32_t> counts,
                   const verify::Receive& receive) override;
  bool decodes(const std::string& tensor_name) const override { return tensor_name == "logits"; }

 private:
  std::string backend_;
  std::shared_ptr<cuda::Model> model_;
  cuda::ModelOptions options_;
  MakeModel make_;
  std::unique_ptr<cuda::Decoder> decoder_;
  int64_t capacity_ = 0;  // of decoder_, in positions
  std::string cache_;     // by its name, of the next decoder
  std::string used_;      // of decoder_
};

}  // namespace assay::cli
