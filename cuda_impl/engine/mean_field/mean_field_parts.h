// What a Probabilistic Transformer is made of, whichever pass reads it. Nothing but a trainer,
// whose own it then is, changes it after construction.
#pragma once

#include "cuda_impl/engine/interface/model.h"
#include "cuda_impl/engine/mean_field/mean_field_schedule.h"
#include "cuda_impl/engine/weights/factor_weights.h"
#include "cuda_impl/engine/weights/operands.h"
#include "cuda_impl/simt/launch_graph.h"
#include "golden/contract/config.h"
#include "golden/contract/precision.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
struct MeanFieldParts {
  MeanFieldParts(const golden::ModelConfig& config, golden::Precision precision,
                 const golden::WeightSource& source, const ModelOptions& options = {});

  const golden::ModelConfig config;
  const MeanFieldSchedule schedule;
  const golden::Precision precision;
  const ModelOptions options;
  const Operands operands;  // of every gemm with a weight but gemm_nn_sum, which reads floats
  simt::LaunchStream stream;
  const Stream queue = stream.get();  // where everything is launched
  FactorWeights<S> weights;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
