// The specification once more, in plain loops: no graph, no operations, no products library. It
// shares nothing with the reference but names, so that a fault in one shows as a difference.
#pragma once

#include "tests/reference/models.h"

namespace assay::reference::testing {

// Every named tensor of the methods plain, 1 (both residuals) and 5.1.
Tensors brute_force(const ModelConfig& config, const Inputs& inputs, const Tensors& weights);

}  // namespace assay::reference::testing
