#include "cuda_impl/engine/make_model.h"

namespace assay::cuda {

std::string device_unavailable() { return simt::unavailable(); }

std::unique_ptr<Model> make_device_model(const golden::ModelConfig& config,
                                         golden::Precision precision,
                                         const golden::WeightSource& weights,
                                         const ModelOptions& options) {
  const std::string reason = device_unavailable();
  if (!reason.empty()) {
    throw InputError(fmt::format("subject cuda: no GPU: {}; use the host executor (simt)", reason));
  }
  switch (precision) {
    case golden::Precision::fp32:
    case golden::Precision::tf32:
      return make_model<float>(config, precision, weights, options);
    case golden::Precision::bf16:
      return make_model<simt::bf16>(config, precision, weights, options);
    case golden::Precision::fp16:
      return make_model<simt::f16>(config, precision, weights, options);
    default:
      throw Unsupported("subject cuda: precision: expected fp32, tf32, bf16 or fp16, got " +
                        golden::precision_name(precision) + "; the host executor has fp64 too");
  }
}

}  // namespace assay::cuda
