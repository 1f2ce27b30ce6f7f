#include "cuda_impl/engine/make_model.h"

namespace assay::cuda {
namespace {

// make(S()) for the type S that kernels store their results as.
template <class Make>
auto with_storage(golden::Precision precision, const Make& make) {
  const std::string reason = device_unavailable();
  if (!reason.empty()) {
    throw InputError(fmt::format("subject cuda: no GPU: {}; use the host executor (simt)", reason));
  }
  switch (precision) {
    case golden::Precision::fp32:
    case golden::Precision::tf32:
      return make(float());
    case golden::Precision::bf16:
      return make(simt::bf16());
    case golden::Precision::fp16:
      return make(simt::f16());
    default:
      throw Unsupported("subject cuda: precision: expected fp32, tf32, bf16 or fp16, got " +
                        golden::precision_name(precision) + "; the host executor has fp64 too");
  }
}

}  // namespace

std::string device_unavailable() { return simt::unavailable(); }

std::unique_ptr<Model> make_device_model(const golden::ModelConfig& config,
                                         golden::Precision precision,
                                         const golden::WeightSource& weights,
                                         const ModelOptions& options) {
  return with_storage(
      precision, [&]<class S>(S) { return make_model<S>(config, precision, weights, options); });
}

std::unique_ptr<Trainer> make_device_trainer(const golden::ModelConfig& config,
                                             golden::Precision precision,
                                             const golden::WeightSource& weights,
                                             const TrainingOptions& options) {
  return with_storage(
      precision, [&]<class S>(S) { return make_trainer<S>(config, precision, weights, options); });
}

}  // namespace assay::cuda
