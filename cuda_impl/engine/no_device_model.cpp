// Stands in for device_model.cpp in a build without nvcc.
#include "cuda_impl/engine/interface/trainer.h"
#include "golden/contract/error.h"

namespace assay::cuda {

std::string device_unavailable() { return "built without CUDA"; }

namespace {

[[noreturn]] void refuse() {
  throw InputError("subject cuda: no GPU: " + device_unavailable() +
                   "; use the host executor (simt)");
}

}  // namespace

std::unique_ptr<Model> make_device_model(const golden::ModelConfig&, golden::Precision,
                                         const golden::WeightSource&, const ModelOptions&) {
  refuse();
}

std::unique_ptr<Trainer> make_device_trainer(const golden::ModelConfig&, golden::Precision,
                                             const golden::WeightSource&, const TrainingOptions&) {
  refuse();
}

}  // namespace assay::cuda
