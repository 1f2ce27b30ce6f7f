// What a model is made of, whichever pass reads it. Nothing but a trainer, whose own it then is,
// changes it after construction.
#pragma once

#include <memory>

#include "cuda_impl/engine/interface/method.h"
#include "cuda_impl/engine/interface/model.h"
#include "cuda_impl/engine/weights/mix.h"
#include "cuda_impl/engine/weights/operands.h"
#include "cuda_impl/engine/weights/score_coefficients.h"
#include "cuda_impl/engine/weights/stacked_weights.h"
#include "cuda_impl/engine/weights/weights.h"
#include "cuda_impl/simt/launch_graph.h"
#include "golden/contract/config.h"
#include "golden/contract/precision.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
struct Parts {
  Parts(const golden::ModelConfig& config, golden::Precision precision,
        const golden::WeightSource& source, const ModelOptions& options = {});

  const golden::ModelConfig config;
  const Method method;
  const golden::Precision precision;
  const Operands operands;  // of every gemm with a weight, forward and backward
  const ModelOptions options;
  simt::LaunchStream stream;
  const Stream queue = stream.get();  // where everything is launched
  Weights<S> weights;
  ScoreCoefficients<S> score_coefficients;
  Mix<S> mix;
  std::unique_ptr<StackedWeights<S>> stacked;  // null unless recomputes are stacked
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
