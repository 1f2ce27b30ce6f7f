// The engine and the trainer for a config's method.
#pragma once

#include <fmt/format.h>

#include <memory>

#include "cuda_impl/engine/prob_transformer.h"
#include "cuda_impl/engine/training/adamw_trainer.h"
#include "cuda_impl/engine/training/trained_mean_field.h"
#include "cuda_impl/engine/training/trained_transformer.h"
#include "cuda_impl/engine/transformer.h"
#include "golden/contract/error.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

inline bool has_prob_transformer(const golden::ModelConfig& config) {
  return golden::find_method(config.method, "method").family == golden::Family::prob_transformer;
}

inline void check_mean_field(const ModelOptions& options) {
  if (options.keep == Keep::all) return;
  throw InputError(fmt::format(
      "model: keep: later rounds of method pt read labels and heads of every round: expected all, "
      "got {}",
      options.keep == Keep::shared ? "shared" : "inputs"));
}

template <class S>
std::unique_ptr<Model> make_model(const golden::ModelConfig& config, golden::Precision precision,
                                  const golden::WeightSource& weights,
                                  const ModelOptions& options) {
  if (has_prob_transformer(config)) {
    check_mean_field(options);
    return std::make_unique<ProbTransformer<S>>(config, precision, weights, options);
  }
  return std::make_unique<Transformer<S>>(config, precision, weights, options);
}

template <class S>
std::unique_ptr<Trainer> make_trainer(const golden::ModelConfig& config,
                                      golden::Precision precision,
                                      const golden::WeightSource& weights,
                                      const TrainingOptions& options) {
  if (has_prob_transformer(config)) {
    check_mean_field(options.model);
    return std::make_unique<AdamwTrainer<TrainedMeanField<S>>>(config, precision, weights, options);
  }
  return std::make_unique<AdamwTrainer<TrainedTransformer<S>>>(config, precision, weights, options);
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
