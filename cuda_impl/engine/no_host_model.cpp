// Stands in for host_model.cpp in a build of the CUDA side alone.
#include "cuda_impl/engine/interface/trainer.h"
#include "golden/contract/error.h"

namespace assay::cuda {

namespace {

[[noreturn]] void refuse() {
  throw Unsupported("subject simt: this build has the CUDA side alone; use the GPU (cuda)");
}

}  // namespace

std::unique_ptr<Model> make_host_model(const golden::ModelConfig&, golden::Precision,
                                       const golden::WeightSource&, const ModelOptions&) {
  refuse();
}

std::unique_ptr<Trainer> make_host_trainer(const golden::ModelConfig&, golden::Precision,
                                           const golden::WeightSource&, const TrainingOptions&) {
  refuse();
}

}  // namespace assay::cuda
