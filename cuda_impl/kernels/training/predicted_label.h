// Which label a position predicts: the one convention of the cross-entropy and of its backward
// pass.
#pragma once

#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// The label that position n = b*T + t predicts, t + ahead, or kIgnoredLabel.
SIMT_DEVICE int32_t predicted_label(const int32_t* labels, int n, int T, int ahead) {
  return n % T + ahead < T ? labels[n + ahead] : kIgnoredLabel;
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
