#include "cuda_impl/engine/make_model.h"

namespace assay::cuda {

std::unique_ptr<Model> make_host_model(const golden::ModelConfig& config,
                                       golden::Precision precision,
                                       const golden::WeightSource& weights,
                                       const ModelOptions& options) {
  switch (precision) {
    case golden::Precision::fp64:
      return make_model<double>(config, precision, weights, options);
    case golden::Precision::fp32:
    case golden::Precision::tf32:
      return make_model<float>(config, precision, weights, options);
    case golden::Precision::bf16:
      return make_model<simt::bf16>(config, precision, weights, options);
    case golden::Precision::fp16:
      return make_model<simt::f16>(config, precision, weights, options);
  }
  throw InternalError("make_host_model: no such Precision");
}

}  // namespace assay::cuda
