#include "cuda_impl/engine/prob_transformer.h"

#include "cuda_impl/engine/cached_decoder.h"
#include "cuda_impl/engine/mean_field/mean_field_backward.h"
#include "golden/contract/error.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

// What a word holds must not depend on those behind it: they are not there yet.
void check_decodes(const golden::ProbTransformer& pt) {
  if (pt.message == golden::ProbTransformer::Message::full) {
    throw Unsupported(
        "decoder: method pt: message full is not causal: a word would hear from every later word "
        "whose head it is; expected message head or symmetric, with causal_heads");
  }
  if (!pt.causal_heads) {
    throw Unsupported(
        "decoder: method pt: heads on both sides are not causal: the head of a word may stand "
        "behind "
        "it; expected causal_heads");
  }
}

}  // namespace

template <class S>
ProbTransformer<S>::ProbTransformer(const golden::ModelConfig& config, golden::Precision precision,
                                    const golden::WeightSource& weights,
                                    const ModelOptions& options)
    : parts_(std::make_shared<const MeanFieldParts<S>>(config, precision, weights, options)),
      pass_(parts_) {}

template <class S>
ProbTransformer<S>::~ProbTransformer() = default;

template <class S>
golden::PrecisionSchedule ProbTransformer<S>::precision() const {
  return golden::usual_schedule(parts_->precision);
}

template <class S>
void ProbTransformer<S>::forward(const Batch& batch, Probe* probe) {
  pass_.run(batch, probe, false);
  simt::synchronize();  // a fault on the device is reported by the pass that caused it
}

template <class S>
std::unique_ptr<cuda::Decoder> ProbTransformer<S>::decoder(int64_t sequences, int64_t capacity,
                                                           int64_t chunk,
                                                           const CacheBlocks& blocks) {
  check_decodes(parts_->schedule.pt);
  return std::make_unique<CachedDecoder<MeanFieldPass<S>>>(parts_, sequences, capacity, chunk,
                                                           blocks);
}

template <class S>
double ProbTransformer<S>::gradients([[maybe_unused]] const Batch& batch,
                                     [[maybe_unused]] const ReceiveGradient& receive) {
  if constexpr (simt::HookedScalar<S>) {
    throw Unsupported("gradients: the backward kernels are not built for this scalar");
  } else {
    if (backward_ == nullptr) backward_ = std::make_unique<MeanFieldBackward<S>>(pass_);
    pass_.run(batch, nullptr, true);
    return backward_->run(receive);
  }
}

#define ASSAY_INSTANTIATE(S) template class ProbTransformer<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
