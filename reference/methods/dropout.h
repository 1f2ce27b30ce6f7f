// The graph of a model with dropout on the residual branches of its layers.
#pragma once

#include <memory>

#include "golden/contract/config.h"
#include "reference/graph/graph.h"

namespace assay::reference {

// As build_model (methods/registry.h); each layer's own O_l and U_l are multiplied with the graph
// inputs dropout/layers/{l}/attn and dropout/layers/{l}/mlp [B,T,D] where they enter the stream.
// What earlier layers are run again for is not. The Probabilistic Transformer has no such branches:
// InputError.
std::unique_ptr<Graph> build_with_dropout(const golden::ModelConfig& config, int64_t batch,
                                          int64_t positions);

}  // namespace assay::reference
