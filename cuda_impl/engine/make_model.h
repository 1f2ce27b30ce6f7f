// The engine for a config's method.
#pragma once

#include <memory>

#include "cuda_impl/engine/prob_transformer.h"
#include "cuda_impl/engine/transformer.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
std::unique_ptr<Model> make_model(const golden::ModelConfig& config, golden::Precision precision,
                                  const golden::WeightSource& weights,
                                  const ModelOptions& options) {
  if (golden::find_method(config.method, "method").family == golden::Family::prob_transformer) {
    return std::make_unique<ProbTransformer<S>>(config, precision, weights);
  }
  return std::make_unique<Transformer<S>>(config, precision, weights, options);
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
