// The engine and the trainer for a config's method.
#pragma once

#include <memory>

#include "cuda_impl/engine/prob_transformer.h"
#include "cuda_impl/engine/training/adamw_trainer.h"
#include "cuda_impl/engine/training/trained_mean_field.h"
#include "cuda_impl/engine/training/trained_transformer.h"
#include "cuda_impl/engine/transformer.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

inline bool has_prob_transformer(const golden::ModelConfig& config) {
  return golden::find_method(config.method, "method").family == golden::Family::prob_transformer;
}

template <class S>
std::unique_ptr<Model> make_model(const golden::ModelConfig& config, golden::Precision precision,
                                  const golden::WeightSource& weights,
                                  const ModelOptions& options) {
  if (has_prob_transformer(config)) {
    return std::make_unique<ProbTransformer<S>>(config, precision, weights);
  }
  return std::make_unique<Transformer<S>>(config, precision, weights, options);
}

template <class S>
std::unique_ptr<Trainer> make_trainer(const golden::ModelConfig& config,
                                      golden::Precision precision,
                                      const golden::WeightSource& weights,
                                      const TrainingOptions& options) {
  if (has_prob_transformer(config)) {
    return std::make_unique<AdamwTrainer<TrainedMeanField<S>>>(config, precision, weights, options);
  }
  return std::make_unique<AdamwTrainer<TrainedTransformer<S>>>(config, precision, weights, options);
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
