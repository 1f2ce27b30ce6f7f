// Decoding with a cache of its own, on the weights of a model.
#pragma once

#include <memory>
#include <vector>

#include "cuda_impl/engine/interface/model.h"
#include "cuda_impl/kernels/view.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Pass: ForwardPass or MeanFieldPass. A step costs what a forward pass over its chunk costs, but
// for attention or heads, which read the cache. Buffers are allocated at the largest chunk; later
// ones only launch.
template <class Pass>
class CachedDecoder final : public cuda::Decoder {
 public:
  using Scalar = typename Pass::Scalar;
  using Parts = typename Pass::OwnParts;

  CachedDecoder(std::shared_ptr<const Parts> parts, int64_t sequences, int64_t capacity,
                int64_t chunk, const CacheBlocks& blocks);
  void append(const Chunk& chunk, std::span<double> logits) override;
  void reset(int64_t sequence) override;
  bool reserve(int64_t sequence, int64_t positions) override;
  bool share(int64_t from, int64_t to, int64_t positions) override;
  std::span<const int64_t> lengths() const override { return lengths_; }
  int64_t cache_bytes() const override { return cache_.bytes(); }
  int64_t cache_rows() const override { return cache_.kept_rows(); }
  BlockUse block_use() const override { return cache_.block_use(); }
  int64_t vocab_size() const override { return parts_->config.vocab_size; }

  int64_t allocations() const { return pass_.allocations(); }

 private:
  void check_sequence(int64_t sequence) const;
  void read_logits(View<const Scalar, 2> stored, std::span<const int32_t> counts,
                   std::span<double> logits) const;

  std::shared_ptr<const Parts> parts_;
  int64_t capacity_, chunk_;
  typename Pass::OwnCache cache_;
  Pass pass_;
  std::vector<int64_t> lengths_;  // [B]
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
