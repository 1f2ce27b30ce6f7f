#include "cuda_impl/engine/transformer.h"

#include "cuda_impl/engine/blocks/backward.h"
#include "cuda_impl/engine/cached_decoder.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
Transformer<S>::Transformer(const golden::ModelConfig& config, golden::Precision precision,
                            const golden::WeightSource& weights, const ModelOptions& options)
    : parts_(std::make_shared<const Parts<S>>(config, precision, weights, options)),
      pass_(parts_) {}

template <class S>
Transformer<S>::~Transformer() = default;

template <class S>
golden::PrecisionSchedule Transformer<S>::precision() const {
  golden::PrecisionSchedule schedule = golden::usual_schedule(parts_->precision);
  schedule.narrow_probs = pass_.rounds_probs();
  return schedule;
}

template <class S>
void Transformer<S>::forward(const Batch& batch, Probe* probe) {
  pass_.run(batch, probe, false);
  simt::synchronize();  // a fault on the device is reported by the pass that caused it
}

template <class S>
double Transformer<S>::gradients([[maybe_unused]] const Batch& batch,
                                 [[maybe_unused]] const ReceiveGradient& receive) {
  if constexpr (simt::HookedScalar<S>) {
    throw Unsupported("gradients: the backward kernels are not built for this scalar");
  } else {
    if (backward_ == nullptr) backward_ = std::make_unique<Backward<S>>(pass_);
    pass_.run(batch, nullptr, true);
    return backward_->run(receive);
  }
}

template <class S>
std::size_t Transformer<S>::bytes() const {
  return pass_.bytes() + (backward_ == nullptr ? 0 : backward_->bytes());
}

template <class S>
std::unique_ptr<cuda::Decoder> Transformer<S>::decoder(int64_t sequences, int64_t capacity,
                                                       int64_t chunk, const CacheBlocks& blocks) {
  return std::make_unique<CachedDecoder<ForwardPass<S>>>(parts_, sequences, capacity, chunk,
                                                         blocks);
}

#define ASSAY_INSTANTIATE(S) template class Transformer<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
