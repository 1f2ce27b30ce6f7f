#include "cuda_impl/engine/transformer.h"

namespace assay::cuda {

std::unique_ptr<Model> make_host_model(const golden::ModelConfig& config,
                                       golden::Precision precision,
                                       const golden::WeightSource& weights) {
  switch (precision) {
    case golden::Precision::fp64:
      return std::make_unique<Transformer<double>>(config, precision, weights);
    case golden::Precision::fp32:
      return std::make_unique<Transformer<float>>(config, precision, weights);
    case golden::Precision::bf16:
      return std::make_unique<Transformer<simt::bf16>>(config, precision, weights);
    case golden::Precision::fp16:
      return std::make_unique<Transformer<simt::f16>>(config, precision, weights);
    default:
      throw Unsupported("subject simt: precision: expected fp64, fp32, bf16 or fp16, got " +
                        golden::precision_name(precision));
  }
}

}  // namespace assay::cuda
