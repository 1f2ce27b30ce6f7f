// cuBLASLt, loaded on demand.
#pragma once

#include <cublasLt.h>

#include <string>

#include "cuda_impl/simt/backend.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

struct CublasLt {
  std::string missing;  // why the rest is null; empty if it is there
  cublasLtHandle_t handle = nullptr;
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtGetVersion) version = nullptr;
  decltype(&cublasLtMatmulDescCreate) desc_create = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&cublasLtMatrixLayoutSetAttribute) layout_set = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
};

// Of this process; loads it at the first call.
const CublasLt& cublaslt();

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
