// The Probabilistic Transformer once more: plain loops over the sums of docs/methods.md, with
// the ternary scores T^(c) [Dz,Dz] written out, no graph, no products engine.
#pragma once

#include "tests/reference/models.h"

namespace assay::reference::testing {

// Every named tensor of the config's variant.
Tensors brute_force_pt(const ModelConfig& config, const Inputs& inputs, const Tensors& weights);

}  // namespace assay::reference::testing
