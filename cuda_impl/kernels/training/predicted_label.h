// Which label a position predicts: the one convention of the cross-entropy and of its backward
// pass.
#pragma once

#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// The label that position n = b*T + t predicts, t + label_shift, or kIgnoredLabel.
SIMT_DEVICE int32_t predicted_label(const int32_t* labels, int n, int T, int label_shift) {
  return n % T + label_shift < T ? labels[n + label_shift] : kIgnoredLabel;
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
