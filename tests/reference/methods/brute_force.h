// docs/methods.md once more, in plain loops: no graph, no operations, no products library. It
// shares nothing with the reference but names, so that a fault in one shows as a difference.
#pragma once

#include "tests/reference/models.h"

namespace assay::reference::testing {

// Every named tensor of the config's method.
Tensors brute_force(const ModelConfig& config, const Inputs& inputs, const Tensors& weights);

}  // namespace assay::reference::testing
