// What a model is made of, whichever pass reads it. Nothing but a trainer, whose own it then is, changes
// it after construction.
#pragma once

#include "cuda_impl/engine/buffers.h"
#include "cuda_impl/engine/method.h"
#include "cuda_impl/engine/mix.h"
#include "cuda_impl/engine/score_coefficients.h"
#include "cuda_impl/engine/weights.h"
#include "cuda_impl/simt/launch_graph.h"
#include "golden/config.h"
#include "golden/precision.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
struct Parts {
  Parts(const golden::ModelConfig& config, golden::Precision precision,
        const golden::WeightSource& source, std::size_t head_bytes = kHeadBytes);

  const golden::ModelConfig config;
  const Method method;
  const golden::Precision precision;
  const std::size_t head_bytes;  // of buffers.h
  simt::LaunchStream stream;
  const Stream queue = stream.get();  // where everything is launched
  Weights<S> weights;
  ScoreCoefficients<S> score_coefficients;
  Mix<S> mix;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
