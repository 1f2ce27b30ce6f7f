// The graph of a whole model by the method's number in docs/methods.md.
#pragma once

#include <memory>

#include "golden/contract/config.h"
#include "reference/graph/graph.h"

namespace assay::reference {

// Embedding to loss for tokens [B,T]. Graph inputs: tokens, attention_mask, labels [B,T] and the
// weights; every tensor of golden::tensor_list is a named node. Throws InputError for a config that
// golden::validate refuses, and for more positions than the method has parameters for.
std::unique_ptr<Graph> build_model(const golden::ModelConfig& config, int64_t batch,
                                   int64_t positions);

}  // namespace assay::reference
