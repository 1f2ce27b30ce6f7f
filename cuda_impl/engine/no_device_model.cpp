// Stands in for device_model.cpp in a build without nvcc.
#include "cuda_impl/engine/model.h"
#include "golden/error.h"

namespace assay::cuda {

std::string device_unavailable() { return "built without CUDA"; }

std::unique_ptr<Model> make_device_model(const golden::ModelConfig&, golden::Precision,
                                         const golden::WeightSource&, const ModelOptions&) {
  throw InputError("subject cuda: no GPU: " + device_unavailable() +
                   "; use the host executor (simt)");
}

}  // namespace assay::cuda
