// The Probabilistic Transformer: mean-field updates of labels and heads of words. See
// prob_transformer.cpp.
#pragma once

#include <memory>

#include "golden/contract/config.h"
#include "reference/graph/graph.h"

namespace assay::reference {

// Tokens to loss. Graph inputs: tokens, attention_mask, labels [B,T] and the weights.
std::unique_ptr<Graph> build_prob_transformer(const golden::ModelConfig& config, int64_t batch,
                                              int64_t positions);

}  // namespace assay::reference
