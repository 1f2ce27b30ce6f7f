// What a model's passes take in device memory.
#pragma once

#include "cuda_impl/engine/transformer.h"
#include "models.h"

namespace assay::engine_test {

// Beside the weights, in fp32, after a forward pass or after one and its backward pass.
inline std::size_t bytes_of(const golden::ModelConfig& config, const Tokens& tokens,
                            const cuda::ModelOptions& options, bool backward) {
  cuda::Transformer<float> model(config, golden::Precision::fp32,
                                 golden::SyntheticWeights(config, 7), options);
  if (backward) {
    model.gradients(tokens.view(), [](const std::string&, golden::TensorView) {});
  } else {
    model.forward(tokens.view(), nullptr);
  }
  return model.bytes();
}

}  // namespace assay::engine_test
