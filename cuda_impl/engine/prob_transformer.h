// The engine's Probabilistic Transformer (docs/methods.md) on kernels that store their results as
// S:
// the rounds of mean-field updates, every option of golden/contract/prob_transformer.h.
#pragma once

#include <memory>

#include "cuda_impl/engine/interface/model.h"
#include "cuda_impl/engine/mean_field/mean_field_pass.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
class MeanFieldBackward;

// Everything is allocated at the first pass of the largest shape; later passes only launch.
template <class S>
class ProbTransformer final : public Model {
 public:
  ProbTransformer(const golden::ModelConfig& config, golden::Precision precision,
                  const golden::WeightSource& weights, const ModelOptions& options = {});
  ~ProbTransformer() override;
  void forward(const Batch& batch, Probe* probe) override;
  double gradients(const Batch& batch, const ReceiveGradient& receive) override;
  std::unique_ptr<cuda::Decoder> decoder(int64_t sequences, int64_t capacity, int64_t chunk,
                                         const CacheBlocks& blocks) override;
  std::unique_ptr<cuda::Decoder> decoder(int64_t sequences, int64_t capacity,
                                         int64_t chunk) override {
    return decoder(sequences, capacity, chunk, parts_->options.cache);
  }
  golden::PrecisionSchedule precision() const override;

  int64_t allocations() const { return pass_.allocations(); }

 private:
  std::shared_ptr<const MeanFieldParts<S>> parts_;
  MeanFieldPass<S> pass_;
  std::unique_ptr<MeanFieldBackward<S>> backward_;  // made by the first call of gradients
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
