// Stands in for host_model.cpp in a build of the CUDA side alone.
#include "cuda_impl/engine/model.h"
#include "golden/error.h"

namespace assay::cuda {

std::unique_ptr<Model> make_host_model(const golden::ModelConfig&, golden::Precision,
                                       const golden::WeightSource&, const ModelOptions&) {
  throw Unsupported("subject simt: this build has the CUDA side alone; use the GPU (cuda)");
}

}  // namespace assay::cuda
