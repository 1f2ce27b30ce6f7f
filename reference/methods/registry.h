// The methods by their number in the specification, and the graph of a whole model.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "golden/config.h"
#include "reference/graph.h"

namespace assay::reference {

struct MethodEntry {
  std::string id;       // "1"
  std::string title;    // "earlier layers run again, added at the MLP"
  std::string formula;  // one line of the specification's mathematics
  std::string options;  // "residual = keep | replace", or ""
};

const std::vector<MethodEntry>& methods();
// Throws InputError "--method 7: no such method; have plain, 1, 5.1 ..".
const MethodEntry& find_method(const std::string& id);

// Embedding to loss for tokens [B,T]. Graph inputs: tokens, attention_mask, labels [B,T] and the
// weights; every tensor of golden::tensor_list is a named node.
std::unique_ptr<Graph> build_model(const golden::ModelConfig& config, int64_t batch,
                                   int64_t positions);

}  // namespace assay::reference
