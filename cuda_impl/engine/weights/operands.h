// What gemms read their factors as in a model of some precision.
#pragma once

#include "cuda_impl/kernels/kernels.h"
#include "golden/contract/precision.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// A model in tf32 stores floats and reads those as tf32.
inline Operands operands_of(golden::Precision precision) {
  return precision == golden::Precision::tf32 ? Operands::tf32 : Operands::as_stored;
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
