#include "cuda_impl/engine/make_model.h"

namespace assay::cuda {
namespace {

// make(S()) for the type S that kernels store their results as.
template <class Make>
auto with_storage(golden::Precision precision, const Make& make) {
  switch (precision) {
    case golden::Precision::fp64:
      return make(double());
    case golden::Precision::fp32:
    case golden::Precision::tf32:
      return make(float());
    case golden::Precision::bf16:
      return make(simt::bf16());
    case golden::Precision::fp16:
      return make(simt::f16());
  }
  throw InternalError("make_host_model: no such Precision");
}

}  // namespace

std::unique_ptr<Model> make_host_model(const golden::ModelConfig& config,
                                       golden::Precision precision,
                                       const golden::WeightSource& weights,
                                       const ModelOptions& options) {
  return with_storage(
      precision, [&]<class S>(S) { return make_model<S>(config, precision, weights, options); });
}

std::unique_ptr<Trainer> make_host_trainer(const golden::ModelConfig& config,
                                           golden::Precision precision,
                                           const golden::WeightSource& weights,
                                           const TrainingOptions& options) {
  return with_storage(
      precision, [&]<class S>(S) { return make_trainer<S>(config, precision, weights, options); });
}

}  // namespace assay::cuda
