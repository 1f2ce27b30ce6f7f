// The engine: the Llama and the GPT-2 block with the methods of docs/methods.md, on kernels that
// store their results as S. The Probabilistic Transformer has one of its own.
#pragma once

#include <memory>

#include "cuda_impl/engine/blocks/forward_pass.h"
#include "cuda_impl/engine/interface/model.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
class Backward;

// Everything is allocated at the first pass of the largest shape; later passes only launch.
template <class S>
class Transformer final : public Model {
 public:
  Transformer(const golden::ModelConfig& config, golden::Precision precision,
              const golden::WeightSource& weights, const ModelOptions& options = {});
  ~Transformer() override;
  void forward(const Batch& batch, Probe* probe) override;
  double gradients(const Batch& batch, const ReceiveGradient& receive) override;
  std::unique_ptr<cuda::Decoder> decoder(int64_t sequences, int64_t capacity, int64_t chunk,
                                         const CacheBlocks& blocks) override;
  std::unique_ptr<cuda::Decoder> decoder(int64_t sequences, int64_t capacity,
                                         int64_t chunk) override {
    return decoder(sequences, capacity, chunk, parts_->options.cache);
  }
  golden::PrecisionSchedule precision() const override;

  // Of device memory beside the weights, so far.
  std::size_t bytes() const;
  int64_t allocations() const { return pass_.allocations(); }

 private:
  std::shared_ptr<const Parts<S>> parts_;
  ForwardPass<S> pass_;
  std::unique_ptr<Backward<S>> backward_;  // made by the first call of gradients
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
